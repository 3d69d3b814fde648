//! One snapshot: finds the work trees, reads and compares them, and saves what is not saved yet.

use std::time::Instant;

use polecat_common::console::{explain, say};

use super::context::{Context, TakeSnapshot};
use super::read::{Source, apart};
use super::remote_state::RemoteState;
use super::rules::Rules;
use super::save::{Outcome, Work};
use super::store::{Tips, UseStore};

/// One part in so many of the time is for asking the broker what it has: it may not answer.
const REFRESH_SHARE: u32 = 4;

impl Context<'_> {
    /// Takes a snapshot and pushes it, unless everything is saved already. Large files follow in pushes of their own.
    pub fn take(&self) -> Result<Outcome, TakeSnapshot> {
        let known = match self.remote_state() {
            Ok(known) => known,
            Err(UseStore::FindBase { .. }) if !self.work_tree.exists() => return Ok(Outcome::NoClone),
            Err(error) => return Err(error.into()),
        };
        let mut trees = self.find(&known);
        let Some(clone) = trees.clone.clone() else {
            return Ok(Outcome::NoClone);
        };
        let mut notes = std::mem::take(&mut trees.notes);
        let mut rules = Rules::of(self.store, &known.base, known.tips.work.as_ref(), self.deadline)?;
        trees.others.extend(self.modules(&clone, &known)?);
        let repository = self.repository(&clone.git_dir, &known);
        let read = self.read(
            &Source {
                work_tree: &clone,
                repository: &repository,
                against: known.branch().as_str(),
                apart: &apart(&clone.path, &trees.others),
            },
            &mut rules,
        )?;
        let others = self.others(&trees, &clone, &known, &mut rules, &mut notes);
        if let Some(why) = &read.deletions_unknown {
            notes.push(format!("whether missing files were deleted is not known: {why}"));
        }
        let mut work = Work {
            known: &known,
            clone: &clone,
            repository: &repository,
            bundle: others.bundle(&mut notes),
            head: repository.head(),
            pushed: None,
            pending: Vec::new(),
            others: &others,
            read,
            notes,
        };
        self.save_in_rounds(&mut work)
    }

    fn remote_state(&self) -> Result<RemoteState, UseStore> {
        // A broker that stopped for good refuses fetches and still takes snapshots.
        let left = self.deadline.saturating_duration_since(Instant::now());
        let tips = match self.store.refresh(Instant::now() + left / REFRESH_SHARE) {
            Ok(tips) => tips,
            Err(error) => {
                say(&format!(
                    "polecat keeper: going by what was fetched before: {}",
                    explain(&error)
                ));
                Tips {
                    work: self.store.known_work(self.deadline)?,
                    wip: None,
                }
            }
        };
        Ok(RemoteState {
            base: self.store.base(self.deadline)?,
            base_branch: self.store.base_branch(self.deadline)?,
            last: self.store.last()?,
            tips,
        })
    }
}
