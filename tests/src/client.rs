//! The API server that the tests talk to.

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Why there is no API server to talk to.
#[derive(Debug, thiserror::Error)]
pub enum Connect {
    /// Nobody said which one.
    #[error(
        "KUBECONFIG is not set: these tests need a real API server; run `cargo xtask test`, or `cargo xtask cluster up` and then set KUBECONFIG to what `cargo xtask cluster kubeconfig` prints"
    )]
    NotNamed,
    /// The file cannot be used.
    #[error("failed to read the kubeconfig {path:?} named by KUBECONFIG: {source}; start the cluster again")]
    ReadKubeconfig {
        /// The value of `KUBECONFIG`.
        path: String,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// The client cannot be made from it.
    #[error("failed to make a client from the kubeconfig {path:?}: {source}; start the cluster again")]
    MakeClient {
        /// The value of `KUBECONFIG`.
        path: String,
        /// What is wrong with it.
        source: kube::Error,
    },
}

/// A client of the API server that `KUBECONFIG` names. A missing variable is an error: no test is ever skipped.
pub async fn from_kubeconfig() -> Result<Client, Connect> {
    let path = std::env::var("KUBECONFIG").map_err(|_| Connect::NotNamed)?;
    // A second installation in the same process is refused, which is no harm: it is the same provider.
    let _ = gastown_crypto::install();
    let options = KubeConfigOptions::default();
    let config = async {
        let kubeconfig = Kubeconfig::read_from(&path)?;
        Config::from_custom_kubeconfig(kubeconfig, &options).await
    };
    let config = config.await.map_err(|source| Connect::ReadKubeconfig {
        path: path.clone(),
        source,
    })?;
    Client::try_from(config).map_err(|source| Connect::MakeClient { path, source })
}
