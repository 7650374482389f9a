// A checkpoint made usable: its job, its state, its data.

import Checkpoint
import Data
import Foundation
import JobSpec
import Quantization
import Training
