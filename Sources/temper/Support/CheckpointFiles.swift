import Checkpoint

extension CheckpointManifest {
  static let jobFileName = "job.yaml"
  static let modelFileName = "model.safetensors"
  static let stateFileName = "state.safetensors"
}
