// What a person sees while a job runs: a few lines redrawn in place on a terminal, plain lines elsewhere.
// Everything goes to standard error, so that standard output holds the result alone.

import Foundation

/// One moment of a job, as the display shows it.
struct ProgressMoment: Equatable {
  var job: String
  var state: String
  var reason: String
  var epoch = 0
  var epochs = 0
  var stepInEpoch = 0
  var stepsPerEpoch = 0
  var phase = ""
  var loss = 0.0
  var accuracy = 0.0
  var imagesPerSecond = 0.0
  var learningRate = 0.0
  var workers = 0

  /// Finished share of the training, 0...1.
  var share: Double {
    guard epochs > 0, stepsPerEpoch > 0 else { return 0 }
    return (Double(max(epoch, 1) - 1) + Double(stepInEpoch) / Double(stepsPerEpoch)) / Double(epochs)
  }
}

final class LiveDisplay {
  private let isTerminal: Bool
  private let quiet: Bool
  private let width: Int
  private var drawnLines = 0
  private var lastPlainLine = Date.distantPast
  private var lastPlainKey = ""
  private var started = Date()
  private var startShare: Double?
  private var currentJob = ""

  init(quiet: Bool = false) {
    self.quiet = quiet
    let dumb = ["", "dumb"].contains(ProcessInfo.processInfo.environment["TERM"] ?? "")
    isTerminal = isatty(STDERR_FILENO) == 1 && !dumb
    var size = winsize()
    width = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 100
  }

  /// Shows the moment: redraws on a terminal, a line each few seconds or at a change of epoch elsewhere.
  func show(_ moment: ProgressMoment, now: Date = Date()) {
    guard !quiet else { return }
    if moment.job != currentJob || startShare == nil {
      currentJob = moment.job
      started = now
      startShare = moment.share
    }
    if isTerminal { redraw(moment, now: now) } else { plain(moment, now: now) }
  }

  /// A line that stays: an epoch's result, a worker that died.
  func note(_ line: String) {
    guard !quiet else { return }
    erase()
    writeError(line)
  }

  /// Leaves the last state on the screen and goes on below it.
  func finish() {
    drawnLines = 0
    startShare = nil
  }

  private func remaining(_ moment: ProgressMoment, now: Date) -> String {
    guard let startShare, moment.share - startShare > 0.005 else { return "-" }
    let elapsed = now.timeIntervalSince(started)
    return spokenDuration(elapsed / (moment.share - startShare) * (1 - moment.share))
  }

  private func redraw(_ moment: ProgressMoment, now: Date) {
    let barWidth = min(40, max(10, width - 50))
    let filled = Int((moment.share * Double(barWidth)).rounded(.down))
    let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: barWidth - filled)
    var lines = ["\(moment.job)  \(moment.state)  \(moment.reason)"]
    if moment.epochs > 0 {
      lines.append(
        "  \(bar) \(fixed(moment.share * 100, 0)) %  epoch \(moment.epoch)/\(moment.epochs)"
          + "  step \(moment.stepInEpoch)/\(moment.stepsPerEpoch)")
      lines.append(
        "  phase \(moment.phase)  loss \(fixed(moment.loss, 4))  accuracy \(fixed(moment.accuracy * 100, 1)) %"
          + "  lr \(fixed(moment.learningRate, 5))")
      lines.append(
        "  \(fixed(moment.imagesPerSecond, 0)) images/s  workers \(moment.workers)"
          + "  time left \(remaining(moment, now: now))")
    }
    erase()
    let text = lines.map { String($0.prefix(width - 1)) }.joined(separator: "\n") + "\n"
    FileHandle.standardError.write(Data(text.utf8))
    drawnLines = lines.count
  }

  private func plain(_ moment: ProgressMoment, now: Date) {
    let key = "\(moment.job) \(moment.state) \(moment.epoch) \(moment.workers) \(moment.phase)"
    guard key != lastPlainKey || now.timeIntervalSince(lastPlainLine) >= 10 else { return }
    lastPlainKey = key
    lastPlainLine = now
    guard moment.epochs > 0 else {
      writeError("\(moment.job)  \(moment.state)  \(moment.reason)")
      return
    }
    writeError(
      "\(moment.job)  epoch \(moment.epoch)/\(moment.epochs)  step \(moment.stepInEpoch)/\(moment.stepsPerEpoch)"
        + "  \(moment.phase)  loss \(fixed(moment.loss, 4))  \(fixed(moment.imagesPerSecond, 0)) images/s"
        + "  workers \(moment.workers)  left \(remaining(moment, now: now))")
  }

  private func erase() {
    guard isTerminal, drawnLines > 0 else { return }
    // From the first column: a key that was pressed, ^C say, has moved the cursor.
    FileHandle.standardError.write(Data("\r\u{1B}[\(drawnLines)A\u{1B}[J".utf8))
    drawnLines = 0
  }
}
