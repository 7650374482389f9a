// Reading weights ahead of their turn.
//
// A panel of a deep layer is hundreds of kilobytes that the first tile would wait for: it takes them faster than memory gives them, and the
// tiles after it find them in cache. So while tiles multiply one pair of panels, the next is read, a share by each tile.

internal import CIntrinsics

/// Begins to read a share of bytes into the second-level cache.
@inline(__always)
func readAhead(_ start: UnsafeRawPointer, byteCount: Int, share: Int, of shares: Int) {
  let lines = (byteCount + 63) / 64
  for line in lines * share / shares..<lines * (share + 1) / shares { temper_prefetch(start + line * 64) }
}

/// Float weights of a product, packed for the forward product.
struct WeightPanels {
  /// [target channels/16][T][source channels][16]; if turned, [source channels/16][T][target channels][16].
  let packed: UnsafePointer<Float>
  /// T.
  let taps: Int
  let sourceChannels: Int
  let targetChannels: Int
  /// Whether this is an input gradient, which takes the weights of the forward product.
  let areTurned: Bool

  /// Floats from one panel of target channels to the next, as a product reads them.
  @inline(__always)
  var panelStride: Int { taps * sourceChannels * 16 }

  /// Where 16 source channels of a tap and of a panel of target channels lie together; the next panel's come after them.
  ///
  /// Of weights that are turned.
  @inline(__always)
  func block(source: Int, tap: Int, panel: Int) -> UnsafePointer<Float> {
    packed + ((source * taps + tap) * targetChannels + panel * 16) * 16
  }

  /// Begins to read a share of `panels` panels.
  @inline(__always)
  func readPanelsAhead(_ panel: Int, _ panels: Int, share: Int, of shares: Int) {
    guard areTurned else {
      readAhead(
        packed + panel * panelStride, byteCount: panels * panelStride * 4, share: share, of: shares)
      return
    }
    let blocks = sourceChannels / 16 * taps
    for index in blocks * share / shares..<blocks * (share + 1) / shares {
      let start = UnsafeRawPointer(block(source: index / taps, tap: index % taps, panel: panel))
      for line in 0..<16 * panels { temper_prefetch(start + line * 64) }
    }
  }
}
