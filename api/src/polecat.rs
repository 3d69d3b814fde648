//! A Polecat: an autonomous worker, one issue on one branch, run as one pod at a time.
//!
//! `desiredState` against the phase the polecat is in (a dash: nothing happens):
//!
//! | phase now | wanted Idle | wanted Working | wanted Terminated |
//! |---|---|---|---|
//! | Idle | – | new attempt, from the WIP ref if there is one | Terminated |
//! | Working | snapshot, stop, Idle | – | snapshot, stop, Terminated |
//! | Done | – | – | Terminated; `Delivered` stays True |
//! | Stuck | Idle | –; the annotation `gastown.io/retry-requested-at` starts a new attempt | Terminated |
//! | Terminated | – | – | – |

mod spec;
mod status;

pub use spec::{
    AgentConfig, AgentKind, Budget, DEFAULT_PRIORITY, DesiredState, ExecutionMode, KubernetesSpec,
    ModelProvider, Polecat, PolecatSpec, Provider, StrictHostKeyChecking, Task,
};
pub use status::{Attempt, AttemptOutcome, PolecatPhase, PolecatStatus, WipRefStatus};
