// The pixels that tiles of a weight gradient are summed over: all of the image, or those that do not read padding with a tap.

internal import KernelsInterface

/// The pixels of one block.
struct PixelBlock {
  /// What they are counted in.
  let pixels: PixelClass
  let first: Int
  let count: Int
  /// [256] pointers to the rows of x.
  let rows: UnsafeMutablePointer<UnsafeRawPointer>
  /// [256] pointers to the rows of dy.
  let gradients: UnsafeMutablePointer<UnsafeRawPointer>
}

extension WeightGradient {
  /// Stages the rows of one or two tiles from row group `group`: `copy` takes 8 channels of the tap that `rows` points to
  /// for each of `tiles` tiles from tile `index` on, `copySingle` tile `index` when its rows (t, c) are of several taps.
  ///
  /// - Parameter tap: what `rows` points to, or -1.
  @inline(__always)
  func stage(
    _ block: PixelBlock, _ group: Int, _ tiles: Int, _ tap: inout Int,
    copy: (_ channel: Int, _ tiles: Int, _ index: Int) -> Void, copySingle: (_ firstRow: Int, _ index: Int) -> Void
  ) {
    let channels = plan.geometry.inputChannels
    if joined != nil { return copy(group * tileRows, tiles, 0) }
    guard aligned else {
      for index in 0..<tiles { copySingle((group + index) * tileRows, index) }
      return
    }
    for index in 0..<tiles {
      let row = (group + index) * tileRows
      let rowTap = row / channels
      let channel = row - rowTap * channels
      if rowTap != tap {
        gather(block, tap: rowTap)
        tap = rowTap
      }
      if index == 0 && tiles == 2 && channel + stagedStride <= channels {
        copy(channel, 2, 0)
        break
      }
      copy(channel, 1, index)
    }
  }

  /// Copies what tiles of `count` rows from row group `group` on read of the block's pixels into runs and points `rows` there.
  @inline(__always)
  func joinTaps(_ block: PixelBlock, _ group: Int, _ count: Int) {
    guard let joined else { return }
    let range = group * tileRows..<min(rowCount, (group + count) * tileRows)
    let pointers = rows + 512
    for pixel in stride(from: 0, to: block.count, by: tileRows) {
      source.gather(
        block.pixels, firstTap: 0, tapCount: plan.geometry.taps, first: block.first + pixel,
        total: block.first + block.count, into: pointers)
      for row in 0..<tileRows {
        let run = runs + (pixel + row) * joined.stride
        joined.copy(range, pointers, row: row, to: run)
        block.rows[pixel + row] = UnsafeRawPointer(run)
      }
    }
  }

  /// Visits 8 consecutive (t, c), pointing `rows` to the tap of each; `channel` is nil past the last.
  @inline(__always)
  func visitRows(_ block: PixelBlock, _ firstRow: Int, _ copy: (_ lane: Int, _ channel: Int?) -> Void) {
    let channels = plan.geometry.inputChannels
    var tap = -1
    for lane in 0..<tileRows {
      let row = firstRow + lane
      guard row < rowCount else {
        copy(lane, nil)
        continue
      }
      let rowTap = row / channels
      if rowTap != tap {
        gather(block, tap: rowTap)
        tap = rowTap
      }
      copy(lane, row - rowTap * channels)
    }
  }

  /// The pixels that rows of tiles from row group `group` on are summed over.
  @inline(__always)
  func pixels(_ group: Int) -> PixelClass {
    plan.tapPixels.map { $0[group * tileRows / plan.geometry.inputChannels] } ?? plan.pixels
  }

  /// A block, with pointers to the rows of dy, elements of `elementBytes`.
  @inline(__always)
  func block(_ pixels: PixelClass, _ range: Range<Int>, _ gradient: UnsafeRawPointer, elementBytes: Int) -> PixelBlock {
    let block = PixelBlock(
      pixels: pixels, first: range.lowerBound, count: range.count, rows: rows, gradients: rows + 256)
    let outputs = plan.geometry.outputChannels
    for pixel in stride(from: 0, to: block.count, by: tileRows) {
      let places = UnsafeMutableRawPointer(block.gradients + pixel).assumingMemoryBound(to: Int.self)
      pixels.locate(block.first + pixel, sampleCount: plan.geometry.outputCount, channels: outputs, into: places)
      for row in 0..<tileRows { places[row] = Int(bitPattern: gradient + places[row] * elementBytes) }
    }
    return block
  }

  /// Pointers to what each pixel of the block reads at a tap.
  @inline(__always)
  func gather(_ block: PixelBlock, tap: Int) {
    var pixel = 0
    while pixel < block.count {
      source.gather(
        block.pixels, firstTap: plan.tapPixels == nil ? tap : 0, tapCount: 1, first: block.first + pixel,
        total: block.first + block.count, into: block.rows + pixel)
      pixel += tileRows
    }
  }
}
