// Makes data sets on a thread of its own, one after the other, in order of submission: making one uses every core already.
import Data
import Foundation
import JobSpec
import RunStore

/// Makes or finds the stores of jobs in the background.
final class DatasetPreparer: Sendable {
  /// What came of it.
  enum Report: Sendable {
    case progress(JobID, String)
    /// The set is served under `name` from `directory`.
    case ready(JobID, name: String, directory: String)
    case failed(JobID, String)
  }

  private let directory: String
  private let queue = DispatchQueue(label: "data sets", qos: .utility)
  private let report: @Sendable (Report) -> Void

  /// - Parameters:
  ///   - directory: where stores are kept.
  ///   - report: called on the background thread.
  init(directory: String, report: @escaping @Sendable (Report) -> Void) {
    self.directory = directory
    self.report = report
  }

  /// Queues a job's data set.
  func prepare(_ job: JobID, _ spec: JobSpec.Data) {
    queue.async { [directory, report] in
      report(.progress(job, "making its data set"))
      do throws(DataError) {
        var last = 0
        let store = try StorePreparation.prepare(spec, directory: directory) { share in
          let percent = Int(share * 100)
          guard percent >= last + 5, percent < 100 else { return }
          last = percent
          report(.progress(job, "making its data set: \(percent) %"))
        }
        report(.ready(job, name: Self.name(job, spec, store), directory: store.directory))
      } catch {
        report(.failed(job, "\(error)"))
      }
    }
  }

  /// Stores made here have their folder's name; one that lies elsewhere is served under the job's number.
  static func name(_ job: JobID, _ spec: JobSpec.Data, _ store: Store) -> String {
    spec.source == .store ? "job-\(job.rawValue)" : URL(fileURLWithPath: store.directory).lastPathComponent
  }
}
