// The inner loop of weight gradients: 8 rows (channels of x) by 16 or 32 columns of dy in registers, over a block of
// pixels. Per pixel 2 loads, 8 broadcasts, 16 multiply-adds; register use as in MicroKernel.swift. A shard's first block
// starts from zero in registers, its last one also joins the sums with those that wait on the stack, so that small maps
// (32 pixels per shard in the last stage) do not spend their time in loads and stores of sums.

/// Where a block's sums begin and end.
struct TileSums {
  /// Whether this is a shard's first block of pixels; else the sums go on from memory.
  let startFromZero: Bool
  /// How many entries below on the stack the sums are joined with, nearest first: node = left + right.
  ///
  /// 0 but in a shard's last block.
  let joins: Int
}

/// Columns k of dy for the pixels of a block.
struct GradientColumns {
  let first: UnsafePointer<Float>
  /// Floats from one pixel to the next.
  let stride: Int
}

/// tile[r, 0..<16] += sum over `count` pixels of rows[pixel, r] * dy[k], pixels ascending.
///
/// - Parameter rows: 8 of every `stagedStride` floats, [count, 16].
@inline(__always)
func addProducts16(
  _ count: Int, _ rows: UnsafePointer<Float>, _ gradient: GradientColumns, _ tile: UnsafeMutablePointer<Float>,
  _ sums: TileSums
) {
  #if AVX512
    var (c0, c1, c2, c3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    var (c4, c5, c6, c7) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    if !sums.startFromZero {
      (c0, c1, c2, c3) = (load(tile), load(tile + 32), load(tile + 64), load(tile + 96))
      (c4, c5, c6, c7) = (load(tile + 128), load(tile + 160), load(tile + 192), load(tile + 224))
    }
    var (x, dy) = (rows, gradient.first)
    for _ in 0..<count {
      let b = load(dy)
      c0 = fma(Floats(repeating: x[0]), b, c0)
      c1 = fma(Floats(repeating: x[1]), b, c1)
      c2 = fma(Floats(repeating: x[2]), b, c2)
      c3 = fma(Floats(repeating: x[3]), b, c3)
      c4 = fma(Floats(repeating: x[4]), b, c4)
      c5 = fma(Floats(repeating: x[5]), b, c5)
      c6 = fma(Floats(repeating: x[6]), b, c6)
      c7 = fma(Floats(repeating: x[7]), b, c7)
      x += stagedStride
      dy += gradient.stride
    }
    var place = tile
    for _ in 0..<sums.joins {
      place -= groupFloats
      c0 = load(place) + c0
      c1 = load(place + 32) + c1
      c2 = load(place + 64) + c2
      c3 = load(place + 96) + c3
      c4 = load(place + 128) + c4
      c5 = load(place + 160) + c5
      c6 = load(place + 192) + c6
      c7 = load(place + 224) + c7
    }
    store(c0, place)
    store(c1, place + 32)
    store(c2, place + 64)
    store(c3, place + 96)
    store(c4, place + 128)
    store(c5, place + 160)
    store(c6, place + 192)
    store(c7, place + 224)
  #else
    addProductsHalf(count, rows, gradient, 0, tile, sums)
    addProductsHalf(count, rows + 4, gradient, 0, tile + 128, sums)
  #endif
}

/// `addProducts16` for 32 columns.
@inline(__always)
func addProducts32(
  _ count: Int, _ rows: UnsafePointer<Float>, _ gradient: GradientColumns, _ tile: UnsafeMutablePointer<Float>,
  _ sums: TileSums
) {
  #if AVX512
    var (c0, c1, c2, c3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    var (c4, c5, c6, c7) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    var (d0, d1, d2, d3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    var (d4, d5, d6, d7) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    if !sums.startFromZero {
      (c0, c1, c2, c3) = (load(tile), load(tile + 32), load(tile + 64), load(tile + 96))
      (c4, c5, c6, c7) = (load(tile + 128), load(tile + 160), load(tile + 192), load(tile + 224))
      (d0, d1, d2, d3) = (load(tile + 16), load(tile + 48), load(tile + 80), load(tile + 112))
      (d4, d5, d6, d7) = (load(tile + 144), load(tile + 176), load(tile + 208), load(tile + 240))
    }
    var (x, dy) = (rows, gradient.first)
    for _ in 0..<count {
      let (b, e) = (load(dy), load(dy + 16))
      var a = Floats(repeating: x[0])
      c0 = fma(a, b, c0)
      d0 = fma(a, e, d0)
      a = Floats(repeating: x[1])
      c1 = fma(a, b, c1)
      d1 = fma(a, e, d1)
      a = Floats(repeating: x[2])
      c2 = fma(a, b, c2)
      d2 = fma(a, e, d2)
      a = Floats(repeating: x[3])
      c3 = fma(a, b, c3)
      d3 = fma(a, e, d3)
      a = Floats(repeating: x[4])
      c4 = fma(a, b, c4)
      d4 = fma(a, e, d4)
      a = Floats(repeating: x[5])
      c5 = fma(a, b, c5)
      d5 = fma(a, e, d5)
      a = Floats(repeating: x[6])
      c6 = fma(a, b, c6)
      d6 = fma(a, e, d6)
      a = Floats(repeating: x[7])
      c7 = fma(a, b, c7)
      d7 = fma(a, e, d7)
      x += stagedStride
      dy += gradient.stride
    }
    var place = tile
    for _ in 0..<sums.joins {
      place -= groupFloats
      c0 = load(place) + c0
      d0 = load(place + 16) + d0
      c1 = load(place + 32) + c1
      d1 = load(place + 48) + d1
      c2 = load(place + 64) + c2
      d2 = load(place + 80) + d2
      c3 = load(place + 96) + c3
      d3 = load(place + 112) + d3
      c4 = load(place + 128) + c4
      d4 = load(place + 144) + d4
      c5 = load(place + 160) + c5
      d5 = load(place + 176) + d5
      c6 = load(place + 192) + c6
      d6 = load(place + 208) + d6
      c7 = load(place + 224) + c7
      d7 = load(place + 240) + d7
    }
    store(c0, place)
    store(d0, place + 16)
    store(c1, place + 32)
    store(d1, place + 48)
    store(c2, place + 64)
    store(d2, place + 80)
    store(c3, place + 96)
    store(d3, place + 112)
    store(c4, place + 128)
    store(d4, place + 144)
    store(c5, place + 160)
    store(d5, place + 176)
    store(c6, place + 192)
    store(d6, place + 208)
    store(c7, place + 224)
    store(d7, place + 240)
  #else
    addProductsHalf(count, rows, gradient, 0, tile, sums)
    addProductsHalf(count, rows + 4, gradient, 0, tile + 128, sums)
    addProductsHalf(count, rows, gradient, 16, tile + 16, sums)
    addProductsHalf(count, rows + 4, gradient, 16, tile + 144, sums)
  #endif
}

#if !AVX512
  /// Four rows of `addProducts16`, with dy from column `offset`.
  @inline(__always)
  private func addProductsHalf(
    _ count: Int, _ rows: UnsafePointer<Float>, _ gradient: GradientColumns, _ offset: Int,
    _ tile: UnsafeMutablePointer<Float>, _ sums: TileSums
  ) {
    var (c0, c1, c2, c3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
    if !sums.startFromZero {
      (c0, c1, c2, c3) = (load(tile), load(tile + 32), load(tile + 64), load(tile + 96))
    }
    var (x, dy) = (rows, gradient.first + offset)
    for _ in 0..<count {
      let b = load(dy)
      c0 = fma(Floats(repeating: x[0]), b, c0)
      c1 = fma(Floats(repeating: x[1]), b, c1)
      c2 = fma(Floats(repeating: x[2]), b, c2)
      c3 = fma(Floats(repeating: x[3]), b, c3)
      x += stagedStride
      dy += gradient.stride
    }
    var place = tile
    for _ in 0..<sums.joins {
      place -= groupFloats
      c0 = load(place) + c0
      c1 = load(place + 32) + c1
      c2 = load(place + 64) + c2
      c3 = load(place + 96) + c3
    }
    store(c0, place)
    store(c1, place + 32)
    store(c2, place + 64)
    store(c3, place + 96)
  }
#endif
