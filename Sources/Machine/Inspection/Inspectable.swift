/// Something that can show what it is doing, at any time, without changing it.
package protocol Inspectable {
  /// Writes what there is to see into a node that is empty, or that reflection has filled.
  func inspect(_ node: inout Node)
}
