//! TLS to the PostgreSQL server, with the meaning that libpq gives to `sslmode`.

use std::fs;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreResult;
use crate::error::StoreError;
use crate::postgres::url::{PostgresUrl, TlsMode};

/// What makes the TLS half of a connection.
pub(super) fn connector(url: &PostgresUrl) -> StoreResult<MakeRustlsConnect> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| StoreError::Internal(error.to_string()))?;
    let trust = match (url.tls, &url.root_certificates) {
        (TlsMode::VerifyFull, _) => Trust::Name(chain_verifier(url, &provider)?),
        // As in libpq: with a certificate authority at hand, "require" checks the chain.
        (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => Trust::Chain(chain_verifier(url, &provider)?),
        (TlsMode::Require | TlsMode::Prefer | TlsMode::Disable, _) => Trust::Anybody,
    };
    let verifier = Arc::new(Verifier { trust, provider });
    // Dangerous in name and, where the operator asks for it by sslmode, in fact.
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn chain_verifier(url: &PostgresUrl, provider: &Arc<CryptoProvider>) -> StoreResult<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    let wrong = |what: String| StoreError::Unavailable(what);
    match &url.root_certificates {
        Some(file) => {
            let named = |what: &dyn std::fmt::Display| wrong(format!("sslrootcert {}: {what}", file.display()));
            let pem = fs::read(file).map_err(|error| named(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| named(&error))?;
                roots.add(certificate).map_err(|error| named(&error))?;
            }
            if roots.is_empty() {
                return Err(named(&"holds no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let what = "this machine knows no certificate authorities: name a file with sslrootcert";
                return Err(wrong(what.to_owned()));
            }
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| wrong(format!("the certificate authorities cannot be used: {error}")))
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trust {
    /// Whoever a known authority says has the name.
    Name(Arc<WebPkiServerVerifier>),
    /// Whoever has a certificate of a known authority.
    Chain(Arc<WebPkiServerVerifier>),
    Anybody,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = match &self.trust {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Name(chain) | Trust::Chain(chain) => chain,
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if matches!(self.trust, Trust::Chain(_)) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
