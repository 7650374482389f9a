// Paths in a job are relative to the folder of the job file.

extension JobSpec {
  /// The same job with every relative path joined to a directory, so that other processes can use it.
  ///
  /// - Parameter directory: Absolute path of the folder of the job file.
  public func resolvingPaths(relativeTo directory: String) -> JobSpec {
    func resolved(_ path: String) -> String {
      path.isEmpty || path.hasPrefix("/") ? path : directory + (directory.hasSuffix("/") ? "" : "/") + path
    }
    var spec = self
    spec.data.idx.directory = resolved(data.idx.directory)
    spec.data.store.directory = resolved(data.store.directory)
    if case .file(let path) = model.initialize { spec.model.initialize = .file(resolved(path)) }
    return spec
  }
}
