//! What the operator knows of the cluster: objects as their watches deliver them, where to find them, what it has written
//! itself and not seen yet, and what is to be reconciled. No kind is named here.

mod expectations;
mod indexer;
mod packed;
mod prune;
mod reflected;
mod stored;
mod triggers;

pub use self::expectations::{CATCH_UP, Expectations, ObservedVersion};
pub use self::indexer::{Indexed, Indexer};
pub use self::packed::Packed;
pub use self::prune::{Prune, prune_meta};
pub use self::reflected::{Delivery, Reflected, Scope};
pub use self::stored::{Stored, Unreadable};
pub use self::triggers::ReconcileTriggers;
