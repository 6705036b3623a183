//! The certificate that a server presents to its clients.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// A certificate and its key. A server with an identity speaks TLS only.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl Identity {
    /// Reads a chain of certificates and a key from two PEM files.
    ///
    /// # Errors
    /// When a file can't be read, or the key doesn't belong to the certificate.
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
        // Name the provider: a process with two of them has no default.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config =
            config.with_safe_default_protocol_versions().map_err(mismatch)?.with_no_client_auth();
        Ok(Identity(Arc::new(config.with_single_cert(chain?, key_der).map_err(mismatch)?)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.clone())
    }
}
