//! Certificates made for a test: for sessions here, and for those of the program (`tests/tls.rs` of the
//! root).

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A folder of certificates, which goes away.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("fix-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    /// A signer's certificate in a file, and the signer.
    pub(crate) fn signer(&self, name: &str) -> (PathBuf, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let place = self.0.join(format!("{name}.pem"));
        fs::write(&place, params.self_signed(&key).unwrap().pem()).unwrap();
        (place, Issuer::new(params, key))
    }

    /// A certificate for this name that is good until this year, and its key.
    pub(crate) fn certificate(
        &self,
        of: &str,
        until: i32,
        signer: &Issuer<'static, KeyPair>,
    ) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![of.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, signer).unwrap();
        let place = |kind: &str| self.0.join(format!("{of}-{until}.{kind}"));
        fs::write(place("pem"), certificate.pem()).unwrap();
        fs::write(place("key"), key.serialize_pem()).unwrap();
        (place("pem"), place("key"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
