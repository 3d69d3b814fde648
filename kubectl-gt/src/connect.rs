//! Finds the cluster as kubectl does: flags, then `KUBECONFIG`, then `~/.kube/config`, then the pod's own account.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::cluster::Cluster;
use crate::exit::Exit;
use crate::flags::ClusterFlags;

/// Why no cluster can be found.
#[derive(Debug, thiserror::Error)]
pub enum Connect {
    /// A kubeconfig that was named cannot be used.
    #[error(
        "failed to read the kubeconfig: {source}; check --kubeconfig, KUBECONFIG and --context (`kubectl config get-contexts`)"
    )]
    ReadKubeconfig {
        /// The error.
        source: KubeconfigError,
    },
    /// Nothing names a cluster.
    #[error(
        "failed to find a cluster: there is no kubeconfig ({source}); set KUBECONFIG, or pass --kubeconfig or --server"
    )]
    NoKubeconfig {
        /// Why the default one cannot be read.
        source: KubeconfigError,
    },
    /// A flag has no usable value.
    #[error("failed to use {flag} {value:?}: {why}; correct the flag")]
    UseFlag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The error.
        why: String,
    },
    /// A file that a flag names cannot be read.
    #[error("failed to read {path:?} of {flag}: {source}; correct the flag")]
    ReadFile {
        /// The flag.
        flag: &'static str,
        /// Its value.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The client cannot be made.
    #[error("failed to use the kubeconfig: {}; correct it, or choose another context with --context", crate::cluster::words(.source))]
    MakeClient {
        /// The error.
        source: kube::Error,
    },
}

impl Connect {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::UseFlag { .. } | Self::ReadFile { .. } => Exit::Usage,
            _ => Exit::Unreachable,
        }
    }
}

/// The cluster that the flags and the environment name.
pub async fn connect(flags: &ClusterFlags) -> Result<Cluster, Connect> {
    let mut config = configuration(flags).await?;
    override_with(&mut config, flags)?;
    let namespace = flags.namespace().unwrap_or(&config.default_namespace).to_owned();
    let address = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|source| Connect::MakeClient { source })?;
    Ok(Cluster::new(
        client,
        namespace,
        address,
        flags.request_timeout,
        flags.namespace_flag(),
    ))
}

/// As kubectl chooses: a named kubeconfig, the default one, `--server` alone, the account of a pod.
async fn configuration(flags: &ClusterFlags) -> Result<Config, Connect> {
    let options = KubeConfigOptions {
        context: flags.context.clone(),
        cluster: flags.cluster.clone(),
        user: flags.user.clone(),
    };
    let named =
        flags.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
    let kubeconfig = match &flags.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let found = match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(config) => Ok(config),
        Err(source) => {
            if let Some(server) = &flags.server {
                return Ok(Config::new(uri(server)?));
            }
            let chosen = named || flags.context.is_some() || flags.cluster.is_some() || flags.user.is_some();
            match Config::incluster() {
                Ok(config) if !chosen => Ok(config),
                _ if chosen
                    || !matches!(
                        source,
                        KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath
                    ) =>
                {
                    Err(Connect::ReadKubeconfig { source })
                }
                _ => Err(Connect::NoKubeconfig { source }),
            }
        }
    }
}

fn override_with(config: &mut Config, flags: &ClusterFlags) -> Result<(), Connect> {
    if let Some(server) = &flags.server {
        config.cluster_url = uri(server)?;
    }
    if let Some(token) = &flags.token {
        config.auth_info = kube::config::AuthInfo {
            token: Some(token.clone().into()),
            ..kube::config::AuthInfo::default()
        };
    }
    if let Some(path) = &flags.client_certificate {
        config.auth_info.client_certificate = Some(text_path(path));
        config.auth_info.client_certificate_data = None;
    }
    if let Some(path) = &flags.client_key {
        config.auth_info.client_key = Some(text_path(path));
        config.auth_info.client_key_data = None;
    }
    if let Some(path) = &flags.certificate_authority {
        let flag = "--certificate-authority";
        std::fs::metadata(path).map_err(|source| Connect::ReadFile {
            flag,
            path: path.clone(),
            source,
        })?;
        config.root_cert_file = Some(path.clone());
    }
    if flags.insecure_skip_tls_verify {
        config.accept_invalid_certs = true;
    }
    if let Some(name) = &flags.tls_server_name {
        config.tls_server_name = Some(name.clone());
    }
    impersonate(config, flags)
}

/// kube reads impersonation from kubeconfigs and does not send it; the API server takes it from these headers.
fn impersonate(config: &mut Config, flags: &ClusterFlags) -> Result<(), Connect> {
    let auth = config.auth_info.clone();
    let from_flags = flags.as_user.is_some();
    let (user, uid, groups) = if from_flags {
        (
            flags.as_user.clone(),
            flags.as_uid.clone(),
            flags.as_group.clone(),
        )
    } else {
        (
            auth.impersonate,
            auth.impersonate_uid,
            auth.impersonate_groups.unwrap_or_default(),
        )
    };
    if user.is_none() && (!flags.as_group.is_empty() || flags.as_uid.is_some()) {
        return Err(Connect::UseFlag {
            flag: "--as-group",
            value: flags.as_group.join(","),
            why: "nobody can be impersonated by group or UID alone; add --as USER".to_owned(),
        });
    }
    let mut add = |name: &'static str, flag: &'static str, value: &str| {
        let header = HeaderValue::from_str(value).map_err(|_| Connect::UseFlag {
            flag,
            value: value.to_owned(),
            why: "it has characters that no header may have".to_owned(),
        })?;
        config.headers.push((HeaderName::from_static(name), header));
        Ok(())
    };
    if let Some(user) = &user {
        add("impersonate-user", "--as", user)?;
    }
    if let Some(uid) = &uid {
        add("impersonate-uid", "--as-uid", uid)?;
    }
    for group in &groups {
        add("impersonate-group", "--as-group", group)?;
    }
    Ok(())
}

fn uri(server: &str) -> Result<Uri, Connect> {
    let wrong = |why: String| Connect::UseFlag {
        flag: "--server",
        value: server.to_owned(),
        why,
    };
    let with_scheme = if server.contains("://") {
        server.to_owned()
    } else {
        format!("http://{server}")
    };
    with_scheme
        .parse::<Uri>()
        .map_err(|error| wrong(error.to_string()))
}

fn text_path(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
