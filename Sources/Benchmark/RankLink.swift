// How a benchmark's rank finds the others: its parent passes endpoints around, as a coordinator does.

import Communication
import Foundation

/// How the ranks of a benchmark reach each other.
public enum RankTransport: String, Codable, Sendable, CaseIterable {
  /// As workers of one machine do.
  case ipc
  /// Over loopback, in the clear.
  case tcp
  /// Over loopback, encrypted, as workers of several machines do.
  case curve
}

/// The end of a rank: lines of JSON to and from the parent, meshes to the other ranks.
final class RankLink {
  /// Where one mesh of a rank listens.
  struct Endpoint: Codable {
    let tcp: String
    let ipc: String
    let host: String
    /// The key of the endpoint and the rank's own, in Z85; nil without encryption.
    let key: String?
    let link: String?
  }

  /// Formed meshes to all ranks, as many as asked for.
  let meshes: [PeerMesh]
  private let directory: URL

  /// Tells the parent this rank's endpoints, hears everyone's, and forms the meshes.
  ///
  /// - Throws: `CommunicationError` when a rank is missing; `BenchmarkFailure` when the parent is gone.
  init(rank: Int, meshCount: Int, transport: RankTransport) throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "temper-bench-\(getpid())", isDirectory: true)
    try FileManager.default.createDirectory(
      at: directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    let directory = directory.path
    meshes = try (0..<meshCount).map { index in
      let folder = "\(directory)/\(index)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
      return try PeerMesh(
        PeerMesh.Configuration(
          ipcDirectory: transport == .ipc ? folder : nil, isEncrypted: transport == .curve))
    }
    let pair = CurveKeyPair.make()
    try tell(
      meshes.map {
        Endpoint(
          tcp: $0.dataEndpoint, ipc: $0.ipcEndpoint, host: HostIdentity.current, key: $0.endpointKey?.z85,
          link: $0.endpointKey.map { _ in pair.publicKey.z85 })
      })
    guard let line = readLine() else { throw BenchmarkFailure(description: "rank \(rank) was told no endpoints") }
    let endpoints = try JSONDecoder().decode([[Endpoint]].self, from: Data(line.utf8))
    for (index, mesh) in meshes.enumerated() {
      let peers = endpoints.enumerated().map { rank, own in
        MeshPeer(
          name: "rank-\(rank)", dataEndpoint: own[index].tcp, ipcEndpoint: own[index].ipc, host: own[index].host)
      }
      let doors = endpoints.compactMap { $0[index].key.flatMap { CurvePublicKey(z85: $0) } }
      let members = endpoints.compactMap { $0[index].link.flatMap { CurvePublicKey(z85: $0) } }
      let keys = doors.isEmpty ? nil : LinkKeys(own: pair, endpoints: doors, members: members)
      try mesh.form(
        MeshMembership(job: UInt64(index + 1), generation: 1, rank: rank, peers: peers, keys: keys),
        timeout: .seconds(20))
    }
  }

  deinit {
    for mesh in meshes { mesh.close() }
    try? FileManager.default.removeItem(at: directory)
  }

  /// Writes a line for the parent.
  func tell(_ value: some Encodable) throws {
    var line = try JSONEncoder().encode(value)
    line.append(UInt8(ascii: "\n"))
    try FileHandle.standardOutput.write(contentsOf: line)
  }

  /// Waits until the parent closes the input: whoever left first would break links that others still read from.
  func waitForEnd() {
    while readLine() != nil {}
  }
}
