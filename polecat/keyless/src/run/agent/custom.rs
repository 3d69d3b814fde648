//! A command in an agent's place: it gets the prompt on standard input, and every API that its provider serves.

use gastown_api::work_order::{ModelApi, WorkOrder};

use super::{Adapter, claude, codex, transcript};

/// `program` with `rest` and the order's arguments.
pub fn adapter(order: &WorkOrder, program: &str, rest: &[String]) -> Adapter {
    let mut environment = Vec::new();
    for api in &order.role.model.apis {
        environment.extend(match api {
            ModelApi::Messages => claude::endpoint(order),
            ModelApi::Responses => codex::endpoint(),
        });
    }
    environment.extend(
        order
            .role
            .model
            .model
            .clone()
            .map(|model| ("GASTOWN_MODEL", model)),
    );
    Adapter {
        program: program.to_owned(),
        arguments: rest.iter().chain(&order.role.agent.args).cloned().collect(),
        environment,
        transcript: transcript(order.role.agent.kind),
    }
}
