// What will happen when: a binary heap of plain numbers over a table of occurrences. Two occurrences of the same moment happen in
// the order in which they were scheduled, so a world has one course only.

/// The future of a world.
struct EventQueue {
  private struct Entry {
    var time: Int64
    var order: UInt64
    var slot: Int32

    @inline(__always)
    static func < (left: Entry, right: Entry) -> Bool {
      left.time != right.time ? left.time < right.time : left.order < right.order
    }
  }

  private var heap: [Entry] = []
  private var table: [Occurrence] = []
  private var free: [Int32] = []
  private var lastOrder: UInt64 = 0

  var count: Int { heap.count }

  /// Schedules an occurrence at a time in microseconds.
  mutating func push(_ occurrence: Occurrence, at time: Int64) {
    lastOrder += 1
    let slot: Int32
    if let reused = free.popLast() {
      slot = reused
      table[Int(slot)] = occurrence
    } else {
      slot = Int32(table.count)
      table.append(occurrence)
    }
    heap.append(Entry(time: time, order: lastOrder, slot: slot))
    rise(heap.count - 1)
  }

  /// The next occurrence, its time, and its number among all that were ever scheduled.
  mutating func pop() -> (time: Int64, order: UInt64, occurrence: Occurrence)? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty {
      heap[0] = last
      sink(0)
    }
    let occurrence = table[Int(first.slot)]
    table[Int(first.slot)] = .nothing
    free.append(first.slot)
    return (first.time, first.order, occurrence)
  }

  private mutating func rise(_ start: Int) {
    var index = start
    let entry = heap[index]
    while index > 0 {
      let parent = (index - 1) >> 1
      guard entry < heap[parent] else { break }
      heap[index] = heap[parent]
      index = parent
    }
    heap[index] = entry
  }

  private mutating func sink(_ start: Int) {
    var index = start
    let entry = heap[index]
    let count = heap.count
    while true {
      var child = 2 * index + 1
      guard child < count else { break }
      if child + 1 < count, heap[child + 1] < heap[child] { child += 1 }
      guard heap[child] < entry else { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = entry
  }
}
