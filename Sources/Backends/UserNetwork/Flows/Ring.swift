/// A queue in one array, whose front is dropped cheaply.
struct Ring<Element> {
  private var elements: [Element] = []
  private var head = 0

  var count: Int { elements.count &- head }
  var isEmpty: Bool { head == elements.count }

  subscript(_ index: Int) -> Element {
    _read { yield elements[head &+ index] }
    _modify { yield &elements[head &+ index] }
  }

  /// Up to `limit` elements from the front.
  func first(_ limit: Int) -> [Element] { Array(elements[head...].prefix(limit)) }

  mutating func append(_ element: Element) { elements.append(element) }

  /// Takes over all of `others`, which is empty then.
  mutating func append(all others: inout [Element]) {
    if isEmpty {
      removeAll()
      swap(&elements, &others)
    } else {
      elements += others
      others.removeAll(keepingCapacity: true)
    }
  }

  /// Takes up to `limit` elements off the front, in whose place there is `empty` for a while. All of them change hands
  /// with their array.
  mutating func take(upTo limit: Int, leaving empty: Element) -> [Element] {
    var taken: [Element] = []
    if limit >= count, head == 0 {
      swap(&taken, &elements)
      return taken
    }
    taken = [Element](repeating: empty, count: min(limit, count))
    for index in taken.indices { swap(&taken[index], &elements[head &+ index]) }
    removeFirst(taken.count)
    return taken
  }

  mutating func insert(_ element: Element, at index: Int) {
    elements.insert(element, at: head &+ index)
  }

  /// Drops the first elements. They are overwritten only when as many again have gone: whoever owns much is emptied
  /// before.
  mutating func removeFirst(_ number: Int) {
    head &+= number
    if head == elements.count {
      elements.removeAll(keepingCapacity: elements.capacity <= 64)
      head = 0
    } else if head >= 16 && head &* 2 >= elements.count {
      elements.removeFirst(head)
      head = 0
    }
  }

  mutating func removeAll() {
    elements = []
    head = 0
  }
}
