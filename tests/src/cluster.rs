//! Nodes of a cluster: each a process at a loopback address of its own, with the certificate that `gatemq pki` makes for it.
//!
//! Where a node is must be known before it starts, because others name it as a seed. So the ports are the usual ones, and the
//! address is one of 127.0.0.0/8 that no other test has.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;

use crate::artifacts::{Artifacts, run};
use crate::broker::{Broker, Setup};
use crate::client::Client;
use crate::{PATIENCE, clock, wait_for};

/// Where nodes gossip.
pub const GOSSIP_PORT: u16 = 7946;
/// Where they are called, and what seeds name.
pub const RPC_PORT: u16 = 7947;
/// Clients may do everything.
pub const ALL: &str = r##"config.grants = [{ allow = ["all"], filter = "#", share_groups = ["*"] }]"##;

/// A secret for gossip, as `openssl rand -base64 32` makes one.
pub const SECRET: &str = "k7mY3mN1cVqj0T4mP0cJ8s3bq6q0b1v2x3y4z5A6B7c=";
/// Another one.
pub const OTHER_SECRET: &str = "q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6j7k8l9z0X1c=";

/// An authority that `gatemq pki ca` has made.
pub struct Authority(TempDir);

impl Authority {
    /// For a cluster of this environment.
    ///
    /// # Panics
    /// When it is not made.
    pub fn new(environment: &str) -> Arc<Authority> {
        let directory = tempfile::tempdir().expect("a directory");
        run(pki().args(["ca", "--environment", environment, "--out"]).arg(directory.path()));
        Arc::new(Authority(directory))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn pki() -> Command {
    let mut gatemq = Command::new(Artifacts::get().broker());
    gatemq.arg("pki");
    gatemq
}

/// The certificate that a node shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certified {
    /// Environment.
    pub environment: String,
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub name: String,
    /// When it is valid.
    pub valid: Valid,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Valid {
    /// Now.
    Now,
    /// Not any more.
    Before,
    /// Not yet.
    Later,
}

/// A node that is to be a member.
#[derive(Clone)]
pub struct Member {
    /// Who signs it.
    pub authority: Arc<Authority>,
    /// Environment.
    pub environment: String,
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub name: String,
    /// Its certificate; `None`: that of its environment, cluster and name.
    pub certified: Option<Certified>,
    /// Secret for gossip.
    pub secret: &'static str,
    /// Where it is.
    pub address: IpAddr,
    /// Where those are whom it asks.
    pub seeds: Vec<IpAddr>,
    /// How far its clock is ahead; negative: behind.
    pub clock_ahead_s: i64,
    /// Further keys of `[cluster]`.
    pub more: String,
}

/// `node-1` and so on, each with all others as seeds.
pub fn members(environment: &str, count: usize) -> Vec<Member> {
    members_of(&Authority::new(environment), environment, count)
}

/// As [`members`], signed by this authority.
pub fn members_of(authority: &Arc<Authority>, environment: &str, count: usize) -> Vec<Member> {
    let mut members: Vec<Member> = (1..=count)
        .map(|n| Member {
            authority: authority.clone(),
            environment: environment.into(),
            cluster: "gatemq".into(),
            name: format!("node-{n}"),
            certified: None,
            secret: SECRET,
            address: an_address(),
            seeds: Vec::new(),
            clock_ahead_s: 0,
            more: String::new(),
        })
        .collect();
    let all: Vec<IpAddr> = members.iter().map(|member| member.address).collect();
    for member in &mut members {
        member.seeds = all.iter().copied().filter(|address| *address != member.address).collect();
    }
    members
}

/// An address of this machine that no other test uses: by process, and by number within it.
///
/// # Panics
/// When a process asks for more than there are.
pub fn an_address() -> IpAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let n = LAST.fetch_add(1, Ordering::Relaxed);
    assert!(n < u8::MAX, "a test binary has 255 nodes");
    IpAddr::from([127, high.max(1), low, n])
}

impl Member {
    /// One more for a cluster, under this name, with its members as seeds.
    pub fn of(members: &[Member], name: &str) -> Member {
        let seeds = members.iter().map(|member| member.address).collect();
        Member { name: name.into(), address: an_address(), seeds, ..members[0].clone() }
    }

    /// A broker that is this member, with its events on tape; without listeners and plugins.
    ///
    /// # Panics
    /// When its certificate is not made.
    pub fn bare(&self) -> Setup {
        let mut setup = Setup::new().name(&self.name).tape();
        if self.clock_ahead_s != 0 {
            setup = clock::ahead(setup, self.clock_ahead_s);
        }
        let secret_file = setup.directory().join("cluster.key");
        fs::write(&secret_file, format!("{}\n", self.secret)).expect("the secret is written");
        let [certificate, key] = self.certificate(setup.directory().join("pki"));
        let seeds: Vec<String> = self.seeds.iter().map(|seed| format!("{seed}:{RPC_PORT}")).collect();
        let mut text = format!(
            "[cluster]\nenvironment = {:?}\nname = {:?}\nbind = \"{address}:{GOSSIP_PORT}\"\n\
             rpc_bind = \"{address}:{RPC_PORT}\"\nseeds = {seeds:?}\nsecret_file = {secret_file:?}\n",
            self.environment,
            self.cluster,
            address = self.address
        );
        let ca = self.authority.file("ca.pem");
        let _ = write!(
            text,
            "{}\ntls.certificate_file = {certificate:?}\ntls.private_key_file = {key:?}\ntls.ca_file = {ca:?}",
            self.more
        );
        setup.toml(&text)
    }

    /// As [`Member::bare`], with a listener `mqtt` whose clients may do everything.
    pub fn setup(&self) -> Setup {
        self.bare().mqtt("mqtt").faults(ALL)
    }

    /// Where others gossip with it.
    pub fn gossip(&self) -> SocketAddr {
        (self.address, GOSSIP_PORT).into()
    }

    /// Where others call it.
    pub fn rpc(&self) -> SocketAddr {
        (self.address, RPC_PORT).into()
    }

    /// Files with the certificate and the key that the broker of this setup shows.
    pub fn shown(&self, setup: &Setup) -> [PathBuf; 2] {
        ["pem", "key"].map(|kind| setup.directory().join("pki").join(format!("{}.{kind}", self.name)))
    }

    fn certificate(&self, out: PathBuf) -> [PathBuf; 2] {
        let usual = || Certified {
            environment: self.environment.clone(),
            cluster: self.cluster.clone(),
            name: self.name.clone(),
            valid: Valid::Now,
        };
        let Certified { environment, cluster, name, valid } = self.certified.clone().unwrap_or_else(usual);
        let files = [out.join(format!("{name}.pem")), out.join(format!("{name}.key"))];
        let of_year = match valid {
            Valid::Now => None,
            Valid::Before => Some(2024),
            Valid::Later => Some(2124),
        };
        if let Some(year) = of_year {
            fs::create_dir_all(&out).expect("a directory");
            let [certificate, key] = certificate_of(year, &self.authority, &environment, &cluster, &name);
            fs::write(&files[0], certificate).expect("a certificate");
            fs::write(&files[1], key).expect("a key");
            return files;
        }
        let mut node = pki();
        node.args(["node", &name, "--environment", &environment, "--cluster", &cluster, "--ca"]);
        run(node.arg(self.authority.0.path()).arg("--out").arg(&out));
        files
    }
}

/// Certificate and key, which `gatemq pki` does not make.
fn certificate_of(year: i32, authority: &Authority, environment: &str, cluster: &str, name: &str) -> [String; 2] {
    let read = |name: &str| fs::read_to_string(authority.file(name)).expect("the authority's file");
    let key = KeyPair::from_pem(&read("ca.key")).expect("its key");
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).expect("its certificate");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let id = format!("spiffe://{environment}/gatemq/{cluster}/{name}");
    params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ASCII"))];
    (params.not_before, params.not_after) = (date_time_ymd(year, 1, 1), date_time_ymd(year + 1, 1, 1));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    [certificate.pem(), key.serialize_pem()]
}

/// Starts them one after the other, and waits until each knows all others.
///
/// # Panics
/// When that does not happen.
pub fn start(setups: impl IntoIterator<Item = Setup>) -> Vec<Broker> {
    let brokers: Vec<Broker> = setups.into_iter().map(Setup::start).collect();
    wait_until_whole(&brokers.iter().collect::<Vec<_>>());
    brokers
}

/// Waits until each of these knows all others as up, and nobody else, and is ready.
///
/// # Panics
/// When that does not happen.
pub fn wait_until_whole(brokers: &[&Broker]) {
    for broker in brokers {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = status(broker);
            if seen["ready"] == true && up(&seen).len() == brokers.len() - 1 {
                break;
            }
            assert!(Instant::now() < deadline, "the cluster is not whole: {seen:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// `gatemq cluster status`
///
/// # Panics
/// When there is no answer.
pub fn status(broker: &Broker) -> Value {
    broker.command(&["cluster", "status"])
}

/// Names of those that a [`status`] shows as up.
pub fn up(status: &Value) -> Vec<String> {
    let rows = status["rows"].as_array().into_iter().flatten();
    rows.filter(|row| row["state"] == "up").filter_map(|row| row["name"].as_str().map(str::to_owned)).collect()
}

/// Publishes to `topic` at QoS 0 until `to`, who is subscribed to it at another node and gets nothing else meanwhile, gets it; then
/// nothing more is on its way. How long that took.
///
/// # Panics
/// When it does not come.
pub fn wait_until_reached(from: &mut Client, to: &mut Client, topic: &str) -> Duration {
    let begun = Instant::now();
    let mut sent = 0_u32;
    wait_for(&format!("a subscription to {topic} is known"), PATIENCE, || {
        sent += 1;
        from.publish(topic, 0, sent.to_string().as_bytes()).expect("PUBLISH");
        to.receive(Duration::from_millis(2)).ok()
    });
    let took = begun.elapsed();
    from.publish(topic, 0, b"reached").expect("PUBLISH");
    while to.next_message().payload != b"reached" {}
    took
}
