//! A call that failed: what kind of failure it was, and what to do about it.

mod answer;

use gastown_api::text::chain;

use crate::exit::Exit;

/// Why the cluster did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Call {
    /// There is no such object.
    #[error("failed to {act} {object}: it does not exist{place}; {remedy}")]
    NotFound {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// ` in namespace …`, where it has one.
        place: String,
        /// How to see what exists.
        remedy: String,
    },
    /// The name is empty.
    #[error("failed to {act} the {kind}: its name is empty; write it (is a variable of your shell not set?)")]
    NoName {
        /// What was tried.
        act: &'static str,
        /// On what kind of object.
        kind: &'static str,
    },
    /// The task that read a page broke off.
    #[error("failed to read the next page of the list; try again")]
    NextPage(#[source] tokio::task::JoinError),
    /// The cluster does not serve the kind.
    #[error(
        "failed to {act} {object}: the cluster {address} does not serve gastown.gastown.io/v1alpha1; install the operator (`{chart}` in a checkout), or choose another cluster with --context",
        chart = crate::install::CHART
    )]
    NotInstalled {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
    },
    /// The cluster serves the kind, and not as this plugin knows it.
    #[error(
        "failed to {act} {object}: the cluster does not know {words}: its definitions are of another version than this plugin ({version}); upgrade the chart, or use the plugin of the chart's version (`kubectl gt doctor` compares them)",
        version = env!("CARGO_PKG_VERSION")
    )]
    Skew {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
    },
    /// The user may not.
    #[error("failed to {act} {object}: {words}; ask for that right, and check with `{check}`")]
    Forbidden {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
        /// A command that tells whether it is granted.
        check: String,
    },
    /// The cluster does not know the user.
    #[error(
        "failed to {act} {object}: the cluster {address} does not accept your credentials ({words}); log in again, or choose another user with --user or --context"
    )]
    Unauthorized {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
        /// The server's words.
        words: String,
    },
    /// The object breaks a rule.
    #[error("failed to {act} {object}: {words}; correct what the message names")]
    Invalid {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
    },
    /// An object of that name exists.
    #[error("failed to {act} {object}: it exists; choose another name, or delete it first: `{delete}`")]
    Exists {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The command that deletes it.
        delete: String,
    },
    /// Someone else wrote the same.
    #[error("failed to {act} {object}: {words}; look at the object, and repeat")]
    Conflict {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
    },
    /// The server is up and could not.
    #[error("failed to {act} {object}: the API server answered {code} ({words}); repeat in a moment")]
    ServerFailed {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The HTTP status.
        code: u16,
        /// The server's words.
        words: String,
    },
    /// Nothing answers.
    #[error(
        "failed to {act} {object}: cannot reach the cluster {address} ({words}); check that it runs and that --context names it (`kubectl cluster-info`)"
    )]
    Unreachable {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
        /// What went wrong.
        words: String,
    },
    /// The answer took too long.
    #[error(
        "failed to {act} {object}: no answer within {seconds} s; raise --request-timeout, or check the cluster"
    )]
    TooSlow {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// How long it was waited.
        seconds: f64,
    },
    /// The answer makes no sense.
    #[error("failed to {act} {object}: {words}; check that {address} is a Kubernetes API server")]
    Decode {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
        /// What is wrong with it.
        words: String,
    },
    /// The request cannot be put into words of HTTP.
    #[error("failed to {act} {object}: {source}; check names and namespace")]
    Build {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// What is wrong with it.
        source: http::Error,
    },
}

impl Call {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotFound { .. } => Exit::NotFound,
            Self::NoName { .. } => Exit::Usage,
            Self::NotInstalled { .. } | Self::Skew { .. } => Exit::NotInstalled,
            Self::Forbidden { .. } | Self::Unauthorized { .. } => Exit::Forbidden,
            Self::Invalid { .. } => Exit::Invalid,
            Self::Exists { .. } | Self::Conflict { .. } => Exit::Conflict,
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Decode { .. } => Exit::Unreachable,
            Self::ServerFailed { .. } | Self::Build { .. } | Self::NextPage(_) => Exit::Failure,
        }
    }

    /// Whether another try may help: the network or a server that is coming up.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::ServerFailed { .. } | Self::TooSlow { .. }
        )
    }

    /// The same, with what may have been meant.
    pub fn with_hint(self, hint: Option<&str>) -> Self {
        match (self, hint) {
            (
                Self::NotFound {
                    act,
                    object,
                    place,
                    remedy,
                },
                Some(hint),
            ) => Self::NotFound {
                act,
                object,
                place,
                remedy: format!("{hint} ({remedy})"),
            },
            (other, _) => other,
        }
    }
}

/// A client's error in words, with its causes, without the debug text that kube adds.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        kube::Error::Service(source) => chain(source.as_ref()).replace('\n', " "),
        other => chain(other).replace('\n', " "),
    }
}
