// swift-tools-version: 6.2
// Temper: quantization-aware training on the machines people already have. The layout is explained in Docs/Tour.md.
import PackageDescription

// Every target: language mode 6, explicit `any`, imports that leak only where they must, warnings are errors.
let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

// The kernels' body is compiled once per instruction set, optimized and unchecked in debug too: without the flags a SIMD
// multiply-add is a library call and 200 times slower. `-march` reaches Swift's own code generation through the Clang importer.
func level(_ name: String, march: [String], defines: [String]) -> Target {
  .target(
    name: name, dependencies: ["CIntrinsics", "KernelsInterface"],
    swiftSettings: strict + defines.map { .define($0) } + [
      .unsafeFlags(
        ["-Ounchecked", "-wmo", "-num-threads", "2", "-disable-batch-mode"] + march.flatMap { ["-Xcc", $0] })
    ])
}

#if arch(x86_64)
  let levels = [
    level("KernelsAVX2", march: ["-march=haswell"], defines: []),
    level("KernelsAVX512", march: ["-march=x86-64-v4"], defines: ["AVX512"]),
    level("KernelsVNNI", march: ["-march=x86-64-v4", "-mavx512vnni"], defines: ["AVX512", "VNNI"]),
  ]
#else
  let levels = [level("KernelsPortable", march: [], defines: [])]
#endif

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")

let package = Package(
  name: "temper",
  products: [
    .executable(name: "temper", targets: ["temper"]),
    .executable(name: "temper-coordinator", targets: ["temper-coordinator"]),
    .executable(name: "temper-worker", targets: ["temper-worker"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // System libraries and the one thing Swift cannot spell.
    .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
    .systemLibrary(name: "CSodium", providers: [.apt(["libsodium-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CLinux"),
    .target(name: "CIntrinsics"),

    // Kernels: one body per instruction set (see `levels`), chosen at start.
    .target(name: "KernelsInterface", swiftSettings: strict),
    .target(
      name: "Kernels", dependencies: ["CIntrinsics", "KernelsInterface"] + levels.map { .byName(name: $0.name) },
      swiftSettings: strict),

    // Values: what a job is, what a model is, what quantization does.
    .target(name: "JobSpec", dependencies: ["Yams"], swiftSettings: strict),
    .target(name: "Graph", swiftSettings: strict),
    .target(name: "Quantization", dependencies: ["Graph"], swiftSettings: strict),

    // One process.
    .target(name: "Data", dependencies: ["JobSpec", "CZlib"], swiftSettings: strict),
    .target(
      name: "Training", dependencies: ["Graph", "Quantization", "Kernels", "Data", "JobSpec"], swiftSettings: strict),
    .target(name: "Checkpoint", dependencies: ["Graph", "CSodium"], swiftSettings: strict),
    .target(name: "Export", dependencies: ["Graph", "Quantization", protobuf], swiftSettings: strict),

    // The cluster.
    .target(
      name: "Communication", dependencies: ["CLinux", "CZeroMQ", protobuf], exclude: ["Messages"], swiftSettings: strict
    ),
    .target(name: "RunStore", dependencies: [.product(name: "GRDB", package: "GRDB.swift")], swiftSettings: strict),
    .target(
      name: "Coordinator",
      dependencies: ["Communication", "JobSpec", "RunStore", "Checkpoint", "Data", logging], swiftSettings: strict),
    .target(
      name: "Worker",
      dependencies: ["Training", "Communication", "Checkpoint", "Graph", "Data", "JobSpec", logging],
      swiftSettings: strict),

    // What a machine makes of the work: `temper bench`.
    .target(
      name: "Benchmark",
      dependencies: ["Worker", "Training", "Graph", "Kernels", "Data", "JobSpec", "Communication"],
      swiftSettings: strict),
    // The state machines of both in one thread, under faults.
    .target(
      name: "Simulation", dependencies: ["Coordinator", "Worker", "RunStore", "Data", logging], swiftSettings: strict),

    // Executables.
    .executableTarget(
      name: "temper-coordinator", dependencies: ["Coordinator", argumentParser, logging],
      swiftSettings: strict),
    .executableTarget(
      name: "temper-worker", dependencies: ["Worker", "Communication", argumentParser, logging], swiftSettings: strict),
    .executableTarget(
      name: "temper",
      dependencies: [
        "Benchmark", "Checkpoint", "Communication", "Data", "Export", "Graph", "JobSpec", "Kernels", "Quantization",
        "Simulation", "Training", "Worker", argumentParser,
      ],
      swiftSettings: strict),

    // Counts calls of malloc, for the test that a training step makes none.
    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),

    // Tests. ProcessTests start real processes and are switched on by TEMPER_PROCESS_TESTS=1.
    .testTarget(name: "KernelsTests", dependencies: ["Kernels"], swiftSettings: strict),
    .testTarget(name: "JobSpecTests", dependencies: ["JobSpec"], swiftSettings: strict),
    .testTarget(name: "GraphTests", dependencies: ["Graph"], exclude: ["Golden"], swiftSettings: strict),
    .testTarget(
      name: "QuantizationTests", dependencies: ["Quantization", "Graph"], exclude: ["Golden"], swiftSettings: strict),
    .testTarget(name: "DataTests", dependencies: ["Data", "JobSpec", "CZlib"], swiftSettings: strict),
    .testTarget(
      name: "TrainingTests",
      dependencies: ["Training", "Graph", "Quantization", "Kernels", "Data", "JobSpec", "AllocationCounter"],
      exclude: ["Golden"], swiftSettings: strict),
    .testTarget(
      name: "CheckpointTests", dependencies: ["Checkpoint", "Graph"], exclude: ["Golden"], swiftSettings: strict),
    .testTarget(
      name: "ExportTests", dependencies: ["Export", "Quantization", "Graph", protobuf], swiftSettings: strict),
    .testTarget(name: "BenchmarkTests", dependencies: ["Benchmark"], swiftSettings: strict),
    .testTarget(name: "CommunicationTests", dependencies: ["Communication", "CZeroMQ"], swiftSettings: strict),
    .testTarget(name: "RunStoreTests", dependencies: ["RunStore"], swiftSettings: strict),
    .testTarget(
      name: "CoordinatorTests",
      dependencies: ["Coordinator", "Communication", "JobSpec", "RunStore", "Checkpoint", logging],
      swiftSettings: strict),
    .testTarget(name: "SimulationTests", dependencies: ["Simulation", "RunStore"], swiftSettings: strict),
    .testTarget(name: "WorkerTests", dependencies: ["Worker", "Training"], swiftSettings: strict),
    .testTarget(
      name: "FuzzTests",
      dependencies: ["Checkpoint", "Communication", "Coordinator", "Data", "Graph", "JobSpec", "Worker"],
      swiftSettings: strict),
    .testTarget(
      name: "ProcessTests", dependencies: ["Checkpoint", "Communication", "Graph", "JobSpec", "Kernels"],
      swiftSettings: strict),
  ] + levels,
  swiftLanguageModes: [.v6]
)
