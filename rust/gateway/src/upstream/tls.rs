//! TLS towards providers: rustls with ring, the system's roots, and a file of own roots per provider.

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::sync::Arc;

/// Client configurations by root file, made once and shared by all workers (session tickets too).
#[derive(Default)]
pub(crate) struct TlsConfigs {
    made: Mutex<HashMap<Option<String>, Arc<ClientConfig>>>,
}

impl TlsConfigs {
    /// The configuration that trusts the system's roots and those in `ca_file` (PEM).
    pub(crate) fn for_roots(&self, ca_file: Option<&str>) -> Result<Arc<ClientConfig>, String> {
        let key = ca_file.map(str::to_owned);
        if let Some(config) = self.made.lock().get(&key) {
            return Ok(config.clone());
        }
        let config = Arc::new(client_config(ca_file)?);
        self.made.lock().insert(key, config.clone());
        Ok(config)
    }
}

fn client_config(ca_file: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // A broken file among the system's does not matter as long as any root was found.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_file {
        let added = own_roots(path)?;
        if roots.add_parsable_certificates(added).0 == 0 {
            return Err(format!("{path}: no usable certificate in it"));
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn own_roots(path: &str) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, String> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("{path}: {error}"))?
        .map(|certificate| certificate.map_err(|error| format!("{path}: {error}")))
        .collect()
}
