//! The configuration.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use crate::breach::Breach;
use crate::subject::{Kind, Subject};

/// `[plugins.NAME.config]`
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Nobody is denied: what would be done is logged and reported.
    pub(crate) dry_run: bool,
    /// Seconds in which a score halves.
    pub(crate) half_life_s: u64,
    /// Points for a breach of each class.
    pub(crate) points: Points,
    /// Score of each kind of subject from which on it is denied.
    pub(crate) thresholds: Thresholds,
    /// Seconds of a subject's first denial.
    pub(crate) ban_s: u64,
    /// Each further denial lasts so many times longer.
    pub(crate) ban_factor: u64,
    /// Longest denial.
    pub(crate) ban_s_max: u64,
    /// Seconds after which a subject's earlier denials are forgotten.
    pub(crate) forget_s: u64,
    /// Subjects of a kind that are kept in mind; when there are more, some low score is forgotten.
    pub(crate) subjects_max: usize,
    /// Who is never denied.
    pub(crate) allow: Allow,
    /// Where the report is written.
    pub(crate) report_file: Option<PathBuf>,
    /// Seconds between two reports.
    pub(crate) report_interval_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            dry_run: false,
            half_life_s: 60,
            points: Points::default(),
            thresholds: Thresholds::default(),
            ban_s: 60,
            ban_factor: 4,
            ban_s_max: 86_400,
            forget_s: 604_800,
            subjects_max: 100_000,
            allow: Allow::default(),
            report_file: None,
            report_interval_s: 10,
        }
    }
}

/// Points for a breach of each class; 0: it is not looked at.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Points {
    failed_authentication: u32,
    protocol_violation: u32,
    denied_action: u32,
    limit_exceeded: u32,
    connect_storm: u32,
}

impl Default for Points {
    fn default() -> Self {
        Points {
            failed_authentication: 10,
            protocol_violation: 25,
            denied_action: 5,
            limit_exceeded: 5,
            connect_storm: 2,
        }
    }
}

/// Score from which on a subject is denied; 0: subjects of this kind never are.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Thresholds {
    address: u32,
    certificate: u32,
    user: u32,
    client: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { address: 100, certificate: 100, user: 300, client: 100 }
    }
}

/// Who is never denied by this plugin.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Allow {
    /// Addresses and networks; of whoever comes from there nothing is counted.
    addresses: Vec<IpNet>,
    /// SHA-256 of client certificates, 64 hexadecimal digits.
    certificates: Vec<String>,
    /// Tenants, with all their users.
    tenants: Vec<String>,
    /// Users.
    users: Vec<User>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
struct User {
    tenant: String,
    user: String,
}

impl Config {
    /// What cannot be meant.
    ///
    /// # Errors
    /// The key, and what to write.
    pub(crate) fn check(&self) -> Result<(), String> {
        let at_least_1 = [
            ("half_life_s", self.half_life_s),
            ("ban_s", self.ban_s),
            ("ban_factor", self.ban_factor),
            ("ban_s_max", self.ban_s_max),
            ("forget_s", self.forget_s),
            ("subjects_max", self.subjects_max as u64),
            ("report_interval_s", self.report_interval_s),
        ];
        for (key, value) in at_least_1 {
            if value == 0 || value > u64::from(u32::MAX) {
                return Err(format!("{key}: must be from 1 to {}", u32::MAX));
            }
        }
        let wrong = |hash: &&String| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit());
        match self.allow.certificates.iter().find(wrong) {
            Some(hash) => Err(format!("allow.certificates: {hash:?} is no SHA-256: write 64 hexadecimal digits")),
            None => Ok(()),
        }
    }

    /// Points for a breach.
    pub(crate) fn points(&self, breach: Breach) -> u32 {
        match breach {
            Breach::FailedAuthentication => self.points.failed_authentication,
            Breach::ProtocolViolation => self.points.protocol_violation,
            Breach::DeniedAction => self.points.denied_action,
            Breach::LimitExceeded => self.points.limit_exceeded,
            Breach::ConnectStorm => self.points.connect_storm,
        }
    }

    /// Score from which on subjects of this kind are denied; `None`: never.
    pub(crate) fn threshold(&self, kind: Kind) -> Option<f64> {
        let threshold = match kind {
            Kind::Address => self.thresholds.address,
            Kind::Certificate => self.thresholds.certificate,
            Kind::User => self.thresholds.user,
            Kind::Client => self.thresholds.client,
        };
        (threshold > 0).then(|| threshold.into())
    }

    /// Whether whoever comes from there is left alone.
    pub(crate) fn allows_address(&self, address: std::net::IpAddr) -> bool {
        self.allow.addresses.iter().any(|network| network.contains(&address))
    }

    /// Whether somebody in this network is left alone.
    pub(crate) fn allows_some_of(&self, network: IpNet) -> bool {
        self.allow.addresses.iter().any(|allowed| allowed.contains(&network) || network.contains(allowed))
    }

    /// Whether a subject is never denied.
    pub(crate) fn allows(&self, subject: &Subject) -> bool {
        let of_user = |tenant: &str, user: &str| {
            self.allow.tenants.iter().any(|allowed| allowed == tenant)
                || self.allow.users.iter().any(|allowed| allowed.tenant == tenant && allowed.user == user)
        };
        match subject {
            Subject::Address(address) => self.allows_address(*address),
            Subject::Certificate(hash) => {
                let hex = crate::subject::hex(hash);
                self.allow.certificates.iter().any(|allowed| allowed.eq_ignore_ascii_case(&hex))
            }
            Subject::User(tenant, user) | Subject::Client(tenant, user, _) => of_user(tenant, user),
        }
    }

    /// How long the denial lasts that follows on so many earlier ones, in milliseconds.
    pub(crate) fn ban_ms(&self, earlier: u32) -> u64 {
        let grown = self.ban_factor.saturating_pow(earlier).saturating_mul(self.ban_s);
        grown.min(self.ban_s_max) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards growing bans: each is longer, none is longer than the bound, and none overflows.
    #[test]
    fn bans_grow_up_to_their_bound() {
        let config = Config { ban_s: 60, ban_factor: 4, ban_s_max: 3600, ..Config::default() };
        assert_eq!([0, 1, 2, 3, 200].map(|n| config.ban_ms(n)), [60_000, 240_000, 960_000, 3_600_000, 3_600_000]);
    }

    /// Guards the allow-list: each way to be on it spares, and whoever is not is not spared.
    #[test]
    fn who_is_allowed_is_spared() {
        let text = r#"{"allow": {"addresses": ["10.0.0.0/8", "2001:db8::/32"], "certificates": ["AA"], "tenants": ["ops"],
            "users": [{"tenant": "acme", "user": "root"}]}}"#;
        let text = text.replace("\"AA\"", &format!("{:?}", "Ab".repeat(32)));
        let config: Config = serde_json::from_str(&text).unwrap();
        assert_eq!(config.check(), Ok(()));
        let client = |tenant: &str, user: &str| Subject::Client(tenant.into(), user.into(), "c".into());
        assert!(config.allows(&Subject::Address("10.1.2.3".parse().unwrap())));
        assert!(config.allows(&Subject::Address("2001:db8:1::".parse().unwrap())));
        assert!(config.allows(&Subject::Certificate([0xAB; 32])));
        assert!(config.allows(&client("ops", "anybody")) && config.allows(&client("acme", "root")));
        assert!(!config.allows(&Subject::Address("11.0.0.1".parse().unwrap())));
        assert!(!config.allows(&Subject::Certificate([0xAC; 32])));
        assert!(!config.allows(&client("acme", "guest")));
    }

    /// Guards that a configuration which cannot be meant is refused, with its key.
    #[test]
    fn nonsense_is_refused() {
        for (config, key) in [
            (Config { half_life_s: 0, ..Config::default() }, "half_life_s"),
            (Config { subjects_max: 0, ..Config::default() }, "subjects_max"),
            (
                Config { allow: Allow { certificates: vec!["x".into()], ..Allow::default() }, ..Config::default() },
                "allow",
            ),
        ] {
            assert!(config.check().unwrap_err().starts_with(key));
        }
        assert_eq!(Config::default().check(), Ok(()));
        assert!(serde_json::from_str::<Config>(r#"{"dry": true}"#).is_err());
    }
}
