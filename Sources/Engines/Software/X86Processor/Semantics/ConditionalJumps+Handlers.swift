// Jcc over all conditions, and compare-and-branch pairs: by the condition in the opcode's low four bits.

/// The target is known: `immediate` is its op.
let linkedConditionalJumps: [Handler] = [
  { jumpLinked(if: 0, $0, $1) },
  { jumpLinked(if: 1, $0, $1) },
  { jumpLinked(if: 2, $0, $1) },
  { jumpLinked(if: 3, $0, $1) },
  { jumpLinked(if: 4, $0, $1) },
  { jumpLinked(if: 5, $0, $1) },
  { jumpLinked(if: 6, $0, $1) },
  { jumpLinked(if: 7, $0, $1) },
  { jumpLinked(if: 8, $0, $1) },
  { jumpLinked(if: 9, $0, $1) },
  { jumpLinked(if: 10, $0, $1) },
  { jumpLinked(if: 11, $0, $1) },
  { jumpLinked(if: 12, $0, $1) },
  { jumpLinked(if: 13, $0, $1) },
  { jumpLinked(if: 14, $0, $1) },
  { jumpLinked(if: 15, $0, $1) },
]

/// The target's page is known, its op not yet: `immediate` is its offset.
let conditionalJumps: [Handler] = [
  { jumpUnlinked(if: 0, $0, $1) },
  { jumpUnlinked(if: 1, $0, $1) },
  { jumpUnlinked(if: 2, $0, $1) },
  { jumpUnlinked(if: 3, $0, $1) },
  { jumpUnlinked(if: 4, $0, $1) },
  { jumpUnlinked(if: 5, $0, $1) },
  { jumpUnlinked(if: 6, $0, $1) },
  { jumpUnlinked(if: 7, $0, $1) },
  { jumpUnlinked(if: 8, $0, $1) },
  { jumpUnlinked(if: 9, $0, $1) },
  { jumpUnlinked(if: 10, $0, $1) },
  { jumpUnlinked(if: 11, $0, $1) },
  { jumpUnlinked(if: 12, $0, $1) },
  { jumpUnlinked(if: 13, $0, $1) },
  { jumpUnlinked(if: 14, $0, $1) },
  { jumpUnlinked(if: 15, $0, $1) },
]

/// The target is in another page.
let conditionalFarJumps: [Handler] = [
  { jumpAway(if: 0, $0, $1) },
  { jumpAway(if: 1, $0, $1) },
  { jumpAway(if: 2, $0, $1) },
  { jumpAway(if: 3, $0, $1) },
  { jumpAway(if: 4, $0, $1) },
  { jumpAway(if: 5, $0, $1) },
  { jumpAway(if: 6, $0, $1) },
  { jumpAway(if: 7, $0, $1) },
  { jumpAway(if: 8, $0, $1) },
  { jumpAway(if: 9, $0, $1) },
  { jumpAway(if: 10, $0, $1) },
  { jumpAway(if: 11, $0, $1) },
  { jumpAway(if: 12, $0, $1) },
  { jumpAway(if: 13, $0, $1) },
  { jumpAway(if: 14, $0, $1) },
  { jumpAway(if: 15, $0, $1) },
]
