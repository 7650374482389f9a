// Folders that jobs from the network may name files in. Links are followed before the comparison, so none leads out.
import Foundation

/// A set of folders.
struct PathRoots: Sendable {
  private let given: [String]

  /// - Parameter folders: as `--data-root` gives them.
  init(_ folders: [String]) { given = folders }

  /// Whether an absolute path that exists lies in one of the folders, all links followed.
  func contain(_ path: String) -> Bool {
    guard path.hasPrefix("/"), let real = Self.resolve(path) else { return false }
    return given.contains { root in
      guard let root = Self.resolve(root) else { return false }
      return real == root || real.hasPrefix(root == "/" ? root : root + "/")
    }
  }

  /// What an operator can do about a path outside.
  var hint: String {
    given.isEmpty
      ? "start the coordinator with --data-root FOLDER, or submit on its machine over ipc"
      : "it opens \(given.joined(separator: ", ")); or start it with another --data-root"
  }

  private static func resolve(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }
}
