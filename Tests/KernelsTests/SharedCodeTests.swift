#if arch(x86_64) && os(Linux)
  import Foundation
  import Testing

  /// The trap of compiling one body several times: a generic function of the standard library that is left as a call
  /// has the same symbol in every level, the linker keeps one copy, and AVX2 code may end up in instructions of
  /// AVX-512.
  @Suite("Code shared between levels")
  struct SharedCodeTests {
    /// Where SwiftPM puts the objects of this build.
    private static let build = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    private static let tool = ["/usr/bin/nm", "/usr/bin/llvm-nm"].first(where: FileManager.default.isExecutableFile)

    @Test("no function is defined by two levels", .enabled(if: tool != nil, "needs nm"))
    func disjoint() throws {
      let levels = ["KernelsAVX2", "KernelsAVX512", "KernelsVNNI"]
      let functions = try levels.map { try Self.functions(of: $0) }
      // An empty list would pass for the wrong reason.
      for (level, functions) in zip(levels, functions) {
        #expect(functions.count > 40, "\(level) in \(Self.build.path)")
      }
      for first in levels.indices {
        for second in levels.indices where second > first {
          let shared = functions[first].intersection(functions[second]).sorted()
          #expect(shared.isEmpty, "\(levels[first]) and \(levels[second])")
        }
      }
    }

    /// Global and weak functions (T and W of nm) in a target's objects.
    private static func functions(of target: String) throws -> Set<String> {
      let folder = build.appendingPathComponent("\(target).build")
      let objects = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        .filter { $0.pathExtension == "o" }.map(\.path)
      let process = Process()
      let output = Pipe()
      process.executableURL = tool.map(URL.init(fileURLWithPath:))
      process.arguments = ["--defined-only", "--no-sort"] + objects
      process.standardOutput = output
      try process.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      let fields = text.split(separator: "\n").map { $0.split(separator: " ") }
      let names = fields.filter { $0.count == 3 && ["T", "W"].contains($0[1]) }.map { String($0[2]) }
      // The compiler's own copy functions belong to the metadata of structs, which no kernel asks for.
      return Set(names.filter { !$0.hasPrefix("__swift_") })
    }
  }
#endif
