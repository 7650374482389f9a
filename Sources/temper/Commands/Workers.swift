// temper workers: who is there and what each does; and having one leave.

import ArgumentParser
import Communication

struct Workers: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List workers, or have one leave.", subcommands: [List.self, Drain.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the workers that the coordinator knows (the default).")

    @OptionGroup var coordinator: CoordinatorOptions
    @OptionGroup var output: OutputOptions

    struct Row: Encodable {
      var worker: UInt64
      var name: String
      var host: String
      var processIdentifier: UInt32
      var threads: UInt32
      var instructionSet: String
      var state: String
      var job: UInt64
      var generation: UInt64
      var shards: [UInt32]
      var secondsSinceHeard: Double
      var residentBytes: UInt64
    }

    func run() throws {
      try ending {
        let workers = try CoordinatorConnection(coordinator).workers()
        if output.json {
          return try printJSON(
            workers.map {
              Row(
                worker: $0.worker, name: $0.name, host: $0.host, processIdentifier: $0.processIdentifier,
                threads: $0.threads, instructionSet: $0.instructionSet, state: $0.state, job: $0.job,
                generation: $0.generation, shards: [$0.shards.first, $0.shards.count],
                secondsSinceHeard: $0.secondsSinceHeard, residentBytes: $0.residentBytes)
            })
        }
        guard !workers.isEmpty else {
          return print("no workers; start one with: temper-worker --coordinator \(coordinator.endpoint)")
        }
        var table = Table([
          ("worker", .right), ("name", .left), ("host", .left), ("pid", .right), ("threads", .right), ("cpu", .left),
          ("state", .left), ("job", .right), ("shards", .left), ("memory", .right), ("heard", .right),
        ])
        for worker in workers {
          let range = worker.shards
          table.append([
            "\(worker.worker)", worker.name, String(worker.host.prefix { $0 != "/" }), "\(worker.processIdentifier)",
            "\(worker.threads)",
            worker.instructionSet, worker.state, worker.job == 0 ? "-" : "\(worker.job)",
            range.count == 0 ? "-" : "\(range.first)..<\(range.first + range.count)", spokenBytes(worker.residentBytes),
            "\(fixed(worker.secondsSinceHeard, 1)) s",
          ])
        }
        print(table.lines.joined(separator: "\n"))
      }
    }
  }

  struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have a worker hand over its work and exit with 0.",
      discussion: """
        Its job goes on with the other workers; the last one of a job stores a checkpoint before it leaves. A worker's supervisor \
        does not start it again: 0 means that nothing is left to do.
        """)

    @Argument(help: "Name or number of the worker; temper workers lists them. Several may have one name.")
    var name: String
    @OptionGroup var coordinator: CoordinatorOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
      try ending {
        let names = try CoordinatorConnection(coordinator).drain(worker: name)
        if output.json { try printJSON(["workers": names]) }
        guard !names.isEmpty else {
          throw Failure(.noInput, "the coordinator has no worker \(name)", hint: "temper workers lists them")
        }
        if !output.json { print("leaving: \(names.joined(separator: ", "))") }
      }
    }
  }
}
