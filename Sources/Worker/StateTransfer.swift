// Where a member's state comes from at the beginning of a generation: its own memory, a peer, a checkpoint, or the spec.
import Checkpoint
import Communication
import Graph
import Logging
import Training

/// Gets and gives training states.
enum StateTransfer {
  /// Bytes of one file of a checkpoint or of a peer's state that a worker is ready to take: 1 GiB, far above any model for the edge.
  static let fileByteLimit = 1 << 30

  /// The state at the target step: what is held if it is that, else from the source that the coordinator names.
  ///
  /// - Throws: `CommunicationError` when a peer fails; `WorkerError`, `TrainingError`, `CheckpointError` when the bytes are no such state.
  static func obtain(
    _ memory: JobMemory, _ run: GenerationRun, _ target: Synchronization, _ services: WorkerServices
  ) throws -> TrainingState {
    guard let step = Int(exactly: target.step), step <= memory.plan.totalSteps else {
      throw WorkerError.damagedState(
        "generation starts at step \(target.step) of \(memory.plan.totalSteps)", location: "\(run.key)")
    }
    if let state = memory.state, state.committedStep == step { return state }
    let start = ContinuousClock.now
    let state: TrainingState
    let origin: String
    switch target.source {
    case .initialize:
      origin = "the spec"
      state = try TrainingState.initial(plan: memory.plan, initialWeights: try initialWeights(run, services))
    case .checkpoint:
      origin = run.assignment.checkpoint ?? "a checkpoint without a name"
      state = try checkpointState(memory, run, services, step, from: origin)
    case .peer(let rank):
      origin = "rank \(rank)"
      let bytes = try services.mesh.fetchState(
        step: target.step, from: rank, maximumByteCount: 2 * fileByteLimit, timeout: .seconds(60))
      state = try restored(memory, try StateBlob.split(bytes), step, from: origin)
    }
    guard state.committedStep == step else {
      throw WorkerError.damagedState(
        "the state from \(origin) is of step \(state.committedStep), not \(step)", location: "\(run.key)")
    }
    memory.state = state
    services.log.info("\(run.key): state of step \(step) from \(origin) in \(ContinuousClock.now - start)")
    return state
  }

  /// The state as a peer fetches it; called on the mesh thread while every member waits for the start.
  static func serve(_ state: TrainingState?, step: UInt64, _ run: GenerationRun) throws -> [UInt8] {
    guard let state, !run.isTraining, state.committedStep == Int(clamping: step) else {
      throw CommunicationError(.unavailable, "this member does not hold the state of step \(step)")
    }
    let tensors = state.tensors()
    return StateBlob.join(
      model: try Safetensors.encode(tensors.model), state: try Safetensors.encode(tensors.state))
  }

  /// The state in the checkpoint that the coordinator named.
  ///
  /// What the coordinator verified may be damaged or gone when it is read. Another look at the disk cures that, not the end of the
  /// job: this member asks for a new generation, which begins with such a look.
  private static func checkpointState(
    _ memory: JobMemory, _ run: GenerationRun, _ services: WorkerServices, _ step: Int, from origin: String
  ) throws -> TrainingState {
    do {
      return try restored(memory, try checkpointFiles(run, services), step, from: origin)
    } catch {
      try run.interruption.check()
      throw error as? CommunicationError
        ?? CommunicationError(.unavailable, "checkpoint \(origin) cannot be used: \(error)")
    }
  }

  private static func restored(
    _ memory: JobMemory, _ files: (model: ArraySlice<UInt8>, state: ArraySlice<UInt8>), _ step: Int, from origin: String
  ) throws -> TrainingState {
    let state = try memory.spare ?? TrainingState.initial(plan: memory.plan, initialWeights: nil)
    memory.spare = nil
    try state.restore(
      model: try Safetensors.decode(Array(files.model), location: "\(origin), model"),
      state: try Safetensors.decode(Array(files.state), location: "\(origin), state"), step: step)
    return state
  }

  private static func checkpointFiles(
    _ run: GenerationRun, _ services: WorkerServices
  ) throws -> (model: ArraySlice<UInt8>, state: ArraySlice<UInt8>) {
    guard let directory = run.assignment.checkpoint else {
      throw WorkerError.damagedState("told to start from a checkpoint that is not named", location: "\(run.key)")
    }
    let files = CoordinatorFiles(coordinator: services.coordinator)
    func fetch(_ name: String) throws -> ArraySlice<UInt8> {
      try files.fetch("\(directory)/\(name)", limit: fileByteLimit, run.interruption)[...]
    }
    return (try fetch(CheckpointManifest.modelFileName), try fetch(CheckpointManifest.stateFileName))
  }

  private static func initialWeights(_ run: GenerationRun, _ services: WorkerServices) throws -> [NamedTensor]? {
    guard let file = run.assignment.initialWeights else { return nil }
    let files = CoordinatorFiles(coordinator: services.coordinator)
    return try Safetensors.decode(try files.fetch(file, limit: fileByteLimit, run.interruption), location: file)
  }
}
