//! Reads the work order that the operator wrote into the pod's annotation.

use std::path::PathBuf;

use gastown_api::pod::ORDER_FILE;
use gastown_api::work_order::WorkOrder;

/// Why the work order cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadOrder {
    /// The file cannot be read.
    #[error("failed to read the work order {path:?}; the pod must mount its annotation there")]
    ReadFile {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no work order.
    #[error("failed to parse the work order {path:?}; operator and agent image must be of one version")]
    Parse {
        /// Where it was read.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The work order of this pod.
pub fn read() -> Result<WorkOrder, ReadOrder> {
    let path = PathBuf::from(ORDER_FILE);
    let json = std::fs::read(&path).map_err(|source| ReadOrder::ReadFile {
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&json).map_err(|source| ReadOrder::Parse { path, source })
}
