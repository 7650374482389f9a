// The `data` section: source, normalization, augmentation, sampling.

extension JobSpec {
  /// Where samples come from and how they are sampled, augmented and normalized.
  public struct Data: Sendable, Hashable {
    /// Kind of source; only the section of the same name applies.
    public var source = Source.strip
    /// The synthetic steel strip.
    public var strip = Strip()
    /// A directory of IDX files.
    public var idx = IDX()
    /// A store made earlier.
    public var store = Store()
    /// Classes reported as rare (their mean AP is printed apart).
    public var rareClasses: [String] = []
    /// Pixel statistics taken out before the first layer.
    public var normalization = Normalization()
    /// Random changes of training images.
    public var augmentation = Augmentation()
    /// Which training samples an epoch draws.
    public var sampling = Sampling()

    /// Makes the defaults: the synthetic steel strip.
    public init() {}

    /// Kind of source.
    public enum Source: String, Sendable, CaseIterable { case strip, idx, store }
  }

  /// The synthetic steel strip: labelled gray patches with hard negatives and rare defects.
  public struct Strip: Sendable, Hashable {
    /// Class names, in label order.
    public static let classNames = ["background", "scratch", "crack", "particle", "pit"]

    /// Training patches.
    public var trainCount = 16_000
    /// Test patches.
    public var testCount = 4_000
    /// Height and width of a patch in pixels.
    public var size = 64
    /// Seed of the generator, apart from the job's, so that jobs with other seeds share one set.
    public var seed: UInt64 = 1
    /// Shares of the classes.
    public var mix = Mix()
    /// Brightness of specular highlights, which appear in every class.
    public var highlights = Highlights.dim

    /// Makes the defaults.
    public init() {}

    /// Relative shares of the five classes; only their ratios matter.
    public struct Mix: Sendable, Hashable {
      /// Share of patches without a defect.
      public var background = 92.0
      /// Share of patches with a scratch.
      public var scratch = 3.0
      /// Share of patches with a crack.
      public var crack = 2.0
      /// Share of patches with an embedded particle.
      public var particle = 2.0
      /// Share of patches with a cluster of pits.
      public var pit = 1.0

      /// Makes the defaults.
      public init() {}

      /// The shares in the order of `Strip.classNames`.
      public var shares: [Double] { [background, scratch, crack, particle, pit] }
    }

    /// Brightness of specular highlights: dim ones leave rare particles alone in the tail of activations.
    public enum Highlights: String, Sendable, CaseIterable { case dim, bright }
  }

  /// A directory of IDX files (MNIST's format), plain or gzip.
  public struct IDX: Sendable, Hashable {
    /// Directory of the four files, such as train-images-idx3-ubyte or train-images-idx3-ubyte.gz.
    public var directory = ""
    /// Class names in label order; when empty, classes are named by their numbers.
    public var classNames: [String] = []

    /// Makes an empty section.
    public init() {}
  }

  /// A store that an importer made.
  public struct Store: Sendable, Hashable {
    /// Directory of the store.
    public var directory = ""

    /// Makes an empty section.
    public init() {}
  }

  /// Input = (pixel - mean) / deviation, per channel; one value stands for all channels.
  public struct Normalization: Sendable, Hashable {
    /// Mean per channel in pixel units (0...255).
    public var mean = [92.0]
    /// Standard deviation per channel in pixel units, > 0.
    public var deviation = [8.0]

    /// Makes the defaults: the background of the synthetic strip.
    public init() {}
  }

  /// Random changes of training images, drawn anew for every use of a sample.
  public struct Augmentation: Sendable, Hashable {
    /// Mirrors left and right with probability 1/2.
    public var flipHorizontal = false
    /// Mirrors top and bottom with probability 1/2.
    public var flipVertical = false
    /// Largest shift in pixels along each axis; the uncovered border is filled by reflection.
    public var shift = 0

    /// Makes the defaults: no augmentation.
    public init() {}
  }

  /// Which training samples an epoch draws.
  public struct Sampling: Sendable, Hashable {
    /// Kind of sampling.
    public var method = Method.natural
    /// Shares of classes under `balanced`; classes not named share the rest equally.
    public var shares: [String: Double] = [:]

    /// Makes the defaults: every sample once per epoch.
    public init() {}

    /// Kind of sampling: every sample once, or classes by given shares.
    public enum Method: String, Sendable, CaseIterable { case natural, balanced }
  }
}
