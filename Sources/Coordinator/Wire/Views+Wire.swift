// What clients see -> control messages.
import Communication
import RunStore

extension WireJobInfo {
  init(_ view: JobBoard.JobView, progress: WireStepProgress?, epochs: [EpochRecord], directory: String) {
    self.init()
    let record = view.record
    job = record.id.rawValue
    name = record.name
    state = record.state.rawValue
    reason = record.reason
    generation = record.generation
    workers = UInt32(view.workerCount)
    if let progress { self.progress = progress }
    if self.progress.step < view.committedStep { self.progress.step = view.committedStep }
    submittedUnixSeconds = record.submittedUnixSeconds
    endedUnixSeconds = record.endedUnixSeconds
    self.directory = directory
    sha256 = record.sha256
    spec = record.spec
    priority = Int32(clamping: view.priority)
    self.epochs = epochs.map(WireEpochResult.init)
  }
}

extension WireEpochResult {
  init(_ record: EpochRecord) {
    self.init()
    job = record.job.rawValue
    generation = record.generation
    epoch = record.epoch
    step = record.step
    json = record.json
    seconds = record.seconds
    imagesPerSecond = record.imagesPerSecond
  }
}

extension WireWorkerInfo {
  init(_ view: JobBoard.WorkerView) {
    self.init()
    let record = view.record
    worker = record.id.rawValue
    name = record.name
    host = record.host
    threads = record.threads
    instructionSet = record.instructionSet
    state = view.state
    job = view.stamp?.job.rawValue ?? 0
    generation = view.stamp?.generation ?? 0
    if let range = view.shards {
      shards.first = UInt32(range.lowerBound)
      shards.count = UInt32(range.count)
    }
    secondsSinceHeard = view.sinceHeard.inSeconds
    residentBytes = view.residentBytes
    processIdentifier = record.processIdentifier
    dataEndpoint = record.dataEndpoint
  }
}

extension WireCheckpointInfo {
  init(_ record: CheckpointRecord, directory: String) {
    self.init()
    path = "\(directory)/\(record.name)"
    step = record.step
    epoch = record.epoch
    final = record.isFinal
  }
}
