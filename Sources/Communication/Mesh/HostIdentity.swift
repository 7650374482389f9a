// Which processes can reach each other by a socket file: same machine, same boot, same mount namespace, same user.
// A host name alone says too little: containers share names, and do not share /run.

import Foundation

/// A name for "here" that two processes share exactly when ipc works between them.
public enum HostIdentity {
  /// This process's; for WorkerHello.host and MeshPeer.host.
  public static let current: String = {
    let boot = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? ""
    let mounts = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/mnt")) ?? ""
    return "\(ProcessInfo.processInfo.hostName)/\(boot.prefix(8))/\(mounts)/\(getuid())"
  }()
}
