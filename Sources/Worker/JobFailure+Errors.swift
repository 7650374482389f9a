// Which errors fail a job, in words for the coordinator and with the exit code that `temper run` should end with.
import Communication
import Data
import JobSpec
import Training

extension JobFailure {
  /// The failure that an error of the work comes to.
  init(_ error: any Error) {
    switch error {
    case let error as WorkerError:
      self.init(message: error.description, hint: "", exitCode: error.exitCode)
    case let error as CommunicationError:
      self.init(message: error.description, exitCode: error.exitCode)
    case let error as JobSpecErrors:
      self.init(message: error.description, exitCode: WorkerExit.usage)
    case let error as DataError:
      self.init(message: error.description, exitCode: WorkerExit.data)
    case let error as TrainingError:
      self.init(message: error.description, exitCode: WorkerExit.data)
    default:
      self.init(message: "\(error)", exitCode: WorkerExit.software)
    }
  }
}
