//! What happens on the nodes, and what the kubelet reports of it.

use gastown_api::evidence::{Evidence, FinalRead};
use gastown_api::git::Sha;
use gastown_api::pod::{BROKER, CLAUDE, GIT_INIT, KEEPER};
use gastown_api::reason::Reason;

use super::*;
use crate::pod_view::{ConditionView, ContainerView, RunningView, StateView, TerminatedView};
use crate::testing::{BASE, HEAD};

impl Town {
    pub(super) fn kubelet_acts(&mut self) {
        let Some(pod) = &self.pod else { return };
        let (uid, deleting) = (pod.uid().to_owned(), pod.is_deleting());
        let attempt = self.numbers.get(&uid).copied().unwrap_or(0);
        if !self.machines.iter().any(|m| m.uid == uid) {
            if !deleting {
                self.place(uid, attempt);
            }
            return;
        }
        let calm = self.calm;
        let now = self.now;
        let rng = &mut self.rng;
        let Some(machine) = self
            .machines
            .iter_mut()
            .find(|m| m.uid == uid && m.node == Node::Well)
        else {
            return;
        };
        if !machine.runs() {
            // It has reported the end, and now lets the object go.
            if deleting {
                self.delete_pod(0);
            }
            return;
        }
        if machine.claude.is_some() && machine.injected && !deleting {
            return self.kubelet_reports(&uid);
        }
        if machine.claude.is_some() || deleting {
            end_one(machine, rng, now);
        } else if !machine.started {
            machine.started = true;
        } else {
            work(machine, rng, now, calm);
        }
        self.kubelet_reports(&uid);
    }

    fn place(&mut self, uid: String, attempt: i32) {
        self.tell(format!("pod {uid} gets a node"));
        if let Some(pod) = &mut self.pod {
            pod.status.conditions.push(condition("PodScheduled", ""));
        }
        let injected = self.rng.u8(..4) == 0;
        self.machines.push(Machine {
            uid,
            attempt,
            node: Node::Well,
            started: false,
            claude: None,
            keeper_ended: false,
            broker_ended: false,
            broker: BrokerState::Serving,
            head_moved: false,
            evicted: false,
            injected,
            ended_at: 0,
        });
    }

    fn kubelet_reports(&mut self, uid: &str) {
        let Some(machine) = self.machines.iter().find(|m| m.uid == uid) else {
            return;
        };
        let Some(pod) = self.pod.as_mut().filter(|p| p.uid() == uid) else {
            return;
        };
        let all_ended = !machine.runs();
        let status = &mut pod.status;
        if !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            status.phase = Some(phase(machine, all_ended, &mut self.rng).to_owned());
        }
        status.reason = (machine.evicted && all_ended).then(|| "Evicted".to_owned());
        status.init_container_statuses = vec![
            broker(machine),
            sidecar(KEEPER, machine.keeper_ended),
            ContainerView {
                name: GIT_INIT.to_owned(),
                state: ended(0, None, None),
                ..ContainerView::default()
            },
        ];
        status.container_statuses = vec![claude(machine)];
        if machine.injected {
            status.container_statuses.push(sidecar("mesh", all_ended));
        }
        let words = format!(
            "the kubelet reports {:?}, claude {:?}",
            status.phase, machine.claude
        );
        self.tell(words);
        if all_ended && self.pod.as_ref().is_some_and(PodView::is_deleting) {
            self.delete_pod(0);
        }
    }
}

fn end_one(machine: &mut Machine, rng: &mut Rng, now: i64) {
    let running = [
        machine.claude.is_none(),
        !machine.keeper_ended,
        !machine.broker_ended,
    ];
    let left: Vec<_> = (0..3).filter(|container| running[*container]).collect();
    match rng.choice(left) {
        Some(0) => {
            machine.claude = Some(143);
            machine.ended_at = now;
        }
        Some(1) => machine.keeper_ended = true,
        Some(_) => machine.broker_ended = true,
        None => {}
    }
}

fn work(machine: &mut Machine, rng: &mut Rng, now: i64, calm: bool) {
    let parked = |reason| BrokerState::Parked {
        reason,
        message: "m".to_owned(),
        until: None,
    };
    match rng.u8(..if calm { 4 } else { 8 }) {
        0 | 1 => {
            machine.head_moved = true;
            machine.claude = Some(0);
        }
        2 => machine.claude = Some(0),
        3 => machine.claude = Some(1),
        4 => machine.broker = parked(Reason::RateLimited),
        5 => machine.broker = BrokerState::Serving,
        6 => {
            machine.broker = BrokerState::Stopped {
                reason: Reason::BudgetSpent,
                message: "m".to_owned(),
            }
        }
        _ => {
            machine.claude = Some(137);
            machine.keeper_ended = true;
            machine.broker_ended = true;
            machine.evicted = true;
        }
    }
    machine.ended_at = now;
}

/// At times the pod's phase runs ahead of what is reported of its sidecars.
fn phase(machine: &Machine, all_ended: bool, rng: &mut Rng) -> &'static str {
    let runs_ahead = machine.claude.is_some() && !machine.injected && rng.u8(..4) == 0;
    let is_over = all_ended || runs_ahead;
    match (is_over, machine.claude) {
        (true, Some(0)) => "Succeeded",
        (true, _) => "Failed",
        (false, _) if machine.started => "Running",
        (false, _) => "Pending",
    }
}

pub(super) fn evidence(machine: &Machine) -> Evidence {
    let head: Option<Sha> = if machine.head_moved { HEAD } else { BASE }.parse().ok();
    Evidence {
        state: machine.broker.clone(),
        base: BASE.parse().ok(),
        pushed: head.clone(),
        head,
        final_read: Some(if machine.broker_ended {
            FinalRead::Read { at: at(0) }
        } else {
            FinalRead::Pending
        }),
        ..Evidence::starting(u32::try_from(machine.attempt).unwrap())
    }
}

pub(super) fn condition(type_: &str, reason: &str) -> ConditionView {
    ConditionView {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: None,
    }
}

fn ended(exit_code: i32, message: Option<String>, finished: Option<i64>) -> StateView {
    StateView {
        terminated: Some(TerminatedView {
            exit_code,
            reason: None,
            message,
            finished_at: finished.map(|second| Time(at(second))),
        }),
        ..StateView::default()
    }
}

fn running() -> StateView {
    StateView {
        running: Some(RunningView { started_at: None }),
        ..StateView::default()
    }
}

fn broker(machine: &Machine) -> ContainerView {
    let message = || Some(evidence(machine).to_json()).filter(|_| !machine.evicted);
    let serves = matches!(machine.broker, BrokerState::Serving | BrokerState::Starting);
    ContainerView {
        name: BROKER.to_owned(),
        ready: serves && !machine.broker_ended,
        state: if machine.broker_ended {
            ended(0, message(), None)
        } else {
            running()
        },
        ..ContainerView::default()
    }
}

fn sidecar(name: &str, has_ended: bool) -> ContainerView {
    ContainerView {
        name: name.to_owned(),
        ready: !has_ended,
        state: if has_ended {
            ended(0, None, None)
        } else {
            running()
        },
        ..ContainerView::default()
    }
}

fn claude(machine: &Machine) -> ContainerView {
    let state = match machine.claude {
        Some(exit) => ended(exit, None, Some(machine.ended_at)),
        None if machine.started => running(),
        None => StateView::default(),
    };
    ContainerView {
        name: CLAUDE.to_owned(),
        ready: machine.started,
        state,
        ..ContainerView::default()
    }
}
