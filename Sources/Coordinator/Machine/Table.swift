// Rows by ascending key in one array. A dictionary hands out whole values: a look at one field of a Job would copy, that is retain and
// release, some thirty strings and arrays, at every heartbeat and tick. Here a row is read and changed where it stands, and every walk
// over the rows is in the order of their keys, so that nothing depends on the seed of a hash.
//
// Keys are counted up, so a new row comes last; taking one out moves those behind it, some hundred bytes each.

/// The jobs or workers of one coordinator.
struct Table<Key: Comparable & Sendable, Row: Sendable>: Sendable {
  /// Ascending.
  private(set) var keys: [Key] = []
  /// One for each key.
  private(set) var values: [Row] = []

  /// The places of all rows, which hold until one comes or goes.
  var indices: Range<Int> { keys.indices }

  /// The place of a row; a search by halves.
  func index(of key: Key) -> Int? {
    var low = 0
    var high = keys.count
    while low < high {
      let middle = (low + high) / 2
      if keys[middle] < key { low = middle + 1 } else { high = middle }
    }
    return low < keys.count && keys[low] == key ? low : nil
  }

  /// The row at a place: what is read of it is copied, the rest is not.
  subscript(at index: Int) -> Row {
    _read { yield values.span[index] }
    _modify { yield &values[index] }
  }

  /// A copy of the row of a key; nil takes it out.
  subscript(key: Key) -> Row? {
    get { index(of: key).map { values[$0] } }
    set {
      switch (index(of: key), newValue) {
      case (let index?, let row?): values[index] = row
      case (let index?, nil):
        values.remove(at: index)
        keys.remove(at: index)
      case (nil, let row?):
        let place = keys.last.map { $0 < key } ?? true ? keys.count : keys.firstIndex { key < $0 } ?? keys.count
        keys.insert(key, at: place)
        values.insert(row, at: place)
      case (nil, nil): break
      }
    }
  }
}
