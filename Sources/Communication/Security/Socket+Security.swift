// CURVE and the kernel's word about ipc peers, as options of one socket; set before bind or connect.

import CZeroMQ
import Foundation

extension Socket {
  /// Makes a listening socket encrypt, and ask the authenticator about every peer.
  func protect(as pair: CurveKeyPair, domain: String) {
    set(ZMQ_CURVE_SERVER, 1)
    setBytes(ZMQ_CURVE_SECRETKEY, pair.secretKey.bytes)
    setBytes(ZMQ_ZAP_DOMAIN, Array(domain.utf8))
    // Without a handler libzmq would admit every key. ZAP_ENFORCE_DOMAIN, which forbids that, is not in Debian's build; here the
    // handler was started to get the domain and never ends, and messages without a proven key are denied.
    knowsSenders = true
  }

  /// Makes a connecting socket encrypt, and accept one server only.
  func protect(as pair: CurveKeyPair, server: CurvePublicKey) {
    setBytes(ZMQ_CURVE_SERVERKEY, server.bytes)
    setBytes(ZMQ_CURVE_PUBLICKEY, pair.publicKey.bytes)
    setBytes(ZMQ_CURVE_SECRETKEY, pair.secretKey.bytes)
  }

  /// Makes an ipc listener hang up on processes of other users; the kernel says who they are, whatever the file's rights.
  func admitOwnUserOnly() {
    var user = geteuid()
    let result = zmq_setsockopt(raw, ZMQ_IPC_FILTER_UID, &user, MemoryLayout<uid_t>.size)
    precondition(result == 0, "zmq_setsockopt(IPC_FILTER_UID): \(Self.lastError)")
  }

  private func setBytes(_ option: Int32, _ bytes: [UInt8]) {
    let result = zmq_setsockopt(raw, option, bytes, bytes.count)
    precondition(result == 0, "zmq_setsockopt(\(option)): \(Self.lastError)")
  }
}
