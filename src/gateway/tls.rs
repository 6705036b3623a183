//! Who the gateway is, to clients that want to know.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// A certificate and its key: a gateway that has one speaks TLS, and nothing else.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl Identity {
    /// Reads a chain of certificates and a key from two files of PEM.
    ///
    /// # Errors
    /// When they can't be read, or don't belong together.
    pub fn read(chain: &Path, key: &Path) -> Result<Self> {
        let unreadable = |path: &Path| {
            Error::config(format!("can't read a certificate or its key from {}", path.display()))
        };
        let chain: Result<Vec<_>> = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|e| unreadable(chain).because(e));
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key).because(e))?;
        let mismatch =
            |e| Error::config(format!("can't serve with the key {}", key.display())).because(e);
        // Named, because the process may have two providers, and then none is the default.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config =
            config.with_safe_default_protocol_versions().map_err(mismatch)?.with_no_client_auth();
        Ok(Identity(Arc::new(config.with_single_cert(chain?, key_der).map_err(mismatch)?)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.clone())
    }
}
