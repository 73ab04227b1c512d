//! What the document says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::error::{Error, Result};
use crate::policy::ci_load::CiStanding;
use crate::policy::claim::Claim;
use crate::policy::hold::{Hold, Showing};
use crate::policy::ladder::Standing;

/// The version of the form that this program reads and writes.
pub(super) const VERSION: u32 = 1;

/// The highest epoch: 15 digits, the most that a shell on a host compares for certain.
pub const MAX_EPOCH: u64 = 999_999_999_999_999;

/// How many past nonces a document keeps: so many writes of others may come between a lost answer and the next look.
pub(super) const RECENT: usize = 16;

/// The one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// A field that we do not know was written by a newer version: to drop it when writing would lose what it says.
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of this form: 1. A document of another version is refused, never rewritten.
    pub v: u32,
    /// The fleet's id, random, made with the document; each host keeps it too.
    pub fleet: String,
    /// Who leads.
    pub lease: Lease,
    /// The nonces of the last writes before this one, at most 16, the oldest first: who lost the answer to a write
    /// finds out here whether it came through, also when others have written since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<String>,
    /// What is known of each host.
    #[serde(default)]
    pub hosts: BTreeMap<String, HostEntry>,
    /// The manual holds, those that ended too while a host may still show them.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// By task, the run that works on it: made before anything is launched, gone once that run is certainly over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Claim>,
    /// It was made anew, and not every host has been looked at since: nobody knows all that runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub young: bool,
    /// By repo, where its CI stands; only those of which something is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ci: BTreeMap<String, CiStanding>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Rises with each acquisition; hosts obey the highest that they have seen. 1 to 15 digits.
    pub epoch: u64,
    /// The inventory name of who leads.
    pub holder: String,
    /// Random, new with every write: who wrote a document recognises it, whatever became of the answer.
    pub nonce: String,
    /// Rises by one with every write.
    pub seq: u64,
}

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// Its id, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// It shows this in place of its id, `none` for none: nothing may be launched there, nor its claims moved, until a
    /// person says what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// Why nothing may be changed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<String>,
    /// It told what runs there since the ledger was made anew; not noted any more once all have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard: bool,
    /// Its id may be that of another name, or it belongs to another fleet: the next id that it shows is as good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    /// A person gave it up: it is looked at, and nothing is changed or launched there until a person takes it up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// By `ID FILE`, the hold and where it was seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shown: BTreeMap<String, Showing>,
    /// Where it stands on the pressure ladder; absent for a host without a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder: Option<Standing>,
}

/// A host that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// When.
    pub at: Timestamp,
    /// Who did it, as `user@machine`.
    pub by: String,
}

/// Read before anything else, so that a newer form is told from a damaged one.
#[derive(Deserialize)]
struct Form {
    v: u64,
}

impl Document {
    /// A first document: a new random fleet id, led by `holder` at `epoch`, nothing held.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(holder: &str, epoch: u64) -> Result<Document> {
        Ok(Document {
            v: VERSION,
            fleet: random_id()?,
            lease: Lease { epoch, holder: holder.to_owned(), nonce: random_id()?, seq: 1 },
            recent: Vec::new(),
            hosts: BTreeMap::new(),
            holds: Vec::new(),
            claims: BTreeMap::new(),
            young: true,
            ci: BTreeMap::new(),
        })
    }

    /// Makes `holder` the one who leads, at an epoch above the document's and above `highest_fence`, the highest that
    /// any host has shown (0 where none did). Gives the new epoch.
    ///
    /// # Errors
    /// When that epoch would have over 15 digits: hosts could not compare it, so the document stays as it is.
    pub fn acquire(&mut self, holder: &str, highest_fence: u64) -> Result<u64> {
        let highest = self.lease.epoch.max(highest_fence);
        if highest >= MAX_EPOCH {
            return Err(Error::failed(format!("no epoch is left above {highest}: it would have more than 15 digits"))
                .help(
                    "no supervisor counts that far: look at ~/.factory/epoch on the hosts, then `factory host repair`",
                ));
        }
        self.lease.epoch = highest + 1;
        holder.clone_into(&mut self.lease.holder);
        Ok(self.lease.epoch)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`Problem::Newer`] for a newer form; [`Problem::Corrupt`] for anything that is no document of ours.
    pub fn parse(bytes: &[u8]) -> Result<Document, Problem> {
        let corrupt = |error: &dyn std::fmt::Display| Problem::Corrupt(error.to_string());
        let text = std::str::from_utf8(bytes).map_err(|error| corrupt(&error))?;
        let Form { v } = serde_json::from_str(text).map_err(|error| corrupt(&error))?;
        match v {
            0 => return Err(Problem::Corrupt("there never was a version 0 of its form".to_owned())),
            newer if newer > u64::from(VERSION) => return Err(Problem::Newer(newer)),
            _ => {}
        }
        let document: Document = serde_json::from_str(text).map_err(|error| corrupt(&error))?;
        let Lease { epoch, holder, nonce, .. } = &document.lease;
        if !(1..=MAX_EPOCH).contains(epoch) {
            return Err(Problem::Corrupt(format!("its epoch {epoch} is not a number of 1 to 15 digits above 0")));
        }
        for (what, value) in [("fleet id", &document.fleet), ("holder", holder), ("nonce", nonce)] {
            if value.is_empty() {
                return Err(Problem::Corrupt(format!("its {what} is empty")));
            }
        }
        Ok(document)
    }

    /// The document as it is stored: one line of JSON.
    ///
    /// # Errors
    /// Exit 101 when it could not be read again: better no write than one that nobody can read.
    pub fn text(&self) -> Result<String> {
        let bug = |why: &dyn std::fmt::Display| {
            Error::new(crate::exit::Exit::Bug, format!("would write a document that cannot be read: {why}"))
                .help("nothing was written; please report this")
        };
        let text = serde_json::to_string(self).map_err(|error| bug(&error))?;
        Document::parse(text.as_bytes()).map_err(|problem| bug(&problem))?;
        Ok(text)
    }

    /// Whether the write with this nonce is in the document, be it the last one or one of those before.
    pub(super) fn has(&self, nonce: &str) -> bool {
        self.lease.nonce == nonce || self.recent.iter().any(|recent| recent == nonce)
    }

    /// Makes this the successor of `before`: the next number, a nonce of its own, and the nonces before it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(super) fn follow(&mut self, before: Option<&Document>) -> Result<()> {
        self.v = VERSION;
        self.lease.nonce = random_id()?;
        self.recent = before.map_or_else(Vec::new, |before| before.recent.clone());
        self.recent.extend(before.map(|before| before.lease.nonce.clone()));
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        self.lease.seq = before.map_or(0, |before| before.lease.seq).saturating_add(1);
        Ok(())
    }
}

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn random_id() -> Result<String> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::failed("the system gives no random bytes"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::inventory::policy::Policy;
    use crate::policy::ci_load::CiState;
    use crate::policy::hold::{BootClock, Ended, Found, Pick, Scope, Until};
    use crate::policy::ladder::{Look, Seen, Up};
    use crate::policy::severity::Level;

    fn timestamp() -> impl Strategy<Value = jiff::Timestamp> {
        (0..4_000_000_000_i64, 0..1_000_000_000_i32).prop_map(|(s, ns)| jiff::Timestamp::new(s, ns).unwrap())
    }

    fn pick() -> impl Strategy<Value = Pick> {
        let all: Pick = serde_json::from_str("\"*\"").unwrap();
        prop_oneof![Just(all), btree_set(".{0,9}", 0..4).prop_map(Pick::Names)]
    }

    fn until() -> impl Strategy<Value = Until> {
        (timestamp(), 0.0..1e9, 0.0..1e9, ".{0,9}", 0.0..1e9).prop_map(|(at, seconds, spent, boot_id, counted)| Until {
            at,
            seconds,
            spent,
            counted: BootClock { boot_id, seconds: counted },
        })
    }

    fn hold() -> impl Strategy<Value = Hold> {
        let scope = (pick(), pick(), pick(), any::<bool>()).prop_map(|(hosts, repo, agent, supervisor)| Scope {
            hosts,
            repo,
            agent,
            supervisor,
        });
        let ended = (timestamp(), option::of(".{0,9}")).prop_map(|(at, by)| Ended { at, by });
        let found = vec(".{0,9}", 0..3).prop_map(|lines| Found { lines });
        let ends = (option::of(until()), option::of(".*"), option::of(found), option::of(ended));
        ("[0-9a-f]{8}", scope, ".*", timestamp(), ends).prop_map(
            |(id, scope, by, since, (until, reason, found, ended))| Hold {
                id,
                scope,
                by,
                since,
                until,
                reason,
                found,
                ended,
            },
        )
    }

    fn claim() -> impl Strategy<Value = Claim> {
        let names = (".{0,9}", ".{0,9}", ".{0,9}", ".{0,9}", ".{0,9}");
        let rest = (
            any::<u32>(),
            timestamp(),
            option::of(any::<u64>()),
            vec(".{0,9}", 0..3),
            any::<bool>(),
            option::of(".{0,9}"),
        );
        (names, rest).prop_map(|((token, host, repo, agent, by), (attempt, at, issue, args, started, told))| Claim {
            unclaimed: started,
            token,
            host,
            repo,
            agent,
            attempt,
            by,
            at,
            issue,
            args,
            started,
            told,
        })
    }

    fn standing() -> impl Strategy<Value = Standing> {
        let looks = vec((0..4_u8, 0..3_u32, 0.0..300.0), 0..20);
        (looks, btree_map(".{0,9}", 0.0..1e6, 0..2)).prop_map(|(looks, told)| {
            let levels = [Level::Ok, Level::Soft, Level::Hard, Level::Crit];
            let mut standing = Standing::unknown();
            let mut uptime = 0.0;
            for (level, dev, dt) in looks {
                uptime += dt;
                let up = Up { boot_id: "b".to_owned(), uptime };
                let inc = levels[usize::from(level)];
                let seen = Seen { up, inc, cmp: Level::Ok, slow: false, dev, review: 0 };
                let look = Look { at: uptime, seen: (dt < 290.0).then_some(seen) };
                standing.look(&Policy::default(), &look, jiff::Timestamp::UNIX_EPOCH, "memory");
            }
            standing.told = told;
            standing
        })
    }

    fn document() -> impl Strategy<Value = Document> {
        let lease = (1..=MAX_EPOCH, ".{1,9}", ".{1,9}", any::<u64>()).prop_map(|(epoch, holder, nonce, seq)| Lease {
            epoch,
            holder,
            nonce,
            seq,
        });
        let left = (timestamp(), ".*").prop_map(|(at, by)| Left { at, by });
        let showing = (0..3_u32, any::<bool>()).prop_map(|(gone, bare)| Showing { gone, bare });
        let shown = btree_map(".{0,9}", showing, 0..3);
        let entry = (
            option::of(".*"),
            option::of(".*"),
            option::of(".*"),
            any::<bool>(),
            any::<bool>(),
            option::of(left),
            shown,
            option::of(standing()),
        )
            .prop_map(|(id, quarantined, barred, heard, doubted, left, shown, ladder)| HostEntry {
                id,
                quarantined,
                barred,
                heard,
                doubted,
                left,
                shown,
                ladder,
            });
        let (hosts, claims) = (btree_map(".{0,9}", entry, 0..4), btree_map(".{0,9}", claim(), 0..4));
        let ci =
            (any::<bool>(), option::of(0.0..1e9), option::of(timestamp()), ".*").prop_map(|(soft, since, at, why)| {
                let pending = if soft { Level::Soft } else { Level::Ok };
                CiStanding { state: CiState { pending, soft_since: since, ..CiState::default() }, since: at, why }
            });
        let ci = btree_map(".{0,9}", ci, 0..3);
        (".{1,9}", lease, vec(".{0,9}", 0..5), hosts, vec(hold(), 0..4), claims, any::<bool>(), ci).prop_map(
            |(fleet, lease, recent, hosts, holds, claims, young, ci)| Document {
                v: VERSION,
                fleet,
                lease,
                recent,
                hosts,
                holds,
                claims,
                young,
                ci,
            },
        )
    }

    proptest! {
        #[test]
        fn a_document_survives_json(document in document()) {
            let text = document.text().unwrap();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(Document::parse(text.as_bytes()), Ok(document));
        }

        #[test]
        fn another_version_is_refused_whatever_else_it_says(document in document(), v in 2..=u64::MAX) {
            let text = document.text().unwrap().replacen("\"v\":1", &format!("\"v\":{v}"), 1);
            prop_assert_eq!(Document::parse(text.as_bytes()), Err(Problem::Newer(v)));
            prop_assert_eq!(Document::parse(format!("{{\"lease\":7,\"v\":{v}}}").as_bytes()), Err(Problem::Newer(v)));
        }

        #[test]
        fn part_of_a_document_is_none(document in document(), part in 0.0..1.0) {
            let text = document.text().unwrap();
            let cut = (text.len() as f64 * part) as usize;
            prop_assert!(matches!(Document::parse(&text.as_bytes()[..cut]), Err(Problem::Corrupt(_))));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(Document::parse(&bytes).is_err());
        }

        #[test]
        fn whoever_acquires_is_above_everything_seen(document in document(), fence in 0..=2 * MAX_EPOCH) {
            let mut mine = document.clone();
            let highest = document.lease.epoch.max(fence);
            match mine.acquire("vps-2", fence) {
                Ok(epoch) => {
                    prop_assert!(epoch == highest + 1 && epoch <= MAX_EPOCH);
                    prop_assert_eq!((mine.lease.epoch, mine.lease.holder.as_str()), (epoch, "vps-2"));
                    prop_assert_eq!(mine.lease.nonce, document.lease.nonce);
                }
                Err(error) => {
                    prop_assert!(highest >= MAX_EPOCH && error.advice().is_some());
                    prop_assert_eq!(mine, document, "a refused one changes nothing");
                }
            }
        }

        #[test]
        fn a_successor_remembers_the_last_writes(writes in 1_usize..40) {
            let mut nonces = Vec::new();
            let mut last: Option<Document> = None;
            for _ in 0..writes {
                let mut next = last.clone().map_or_else(|| Document::new("solo", 1), Ok).unwrap();
                next.follow(last.as_ref()).unwrap();
                nonces.push(next.lease.nonce.clone());
                last = Some(next);
            }
            let last = last.unwrap();
            prop_assert_eq!(last.lease.seq, writes as u64);
            for (age, nonce) in nonces.iter().rev().enumerate() {
                prop_assert_eq!(last.has(nonce), age <= RECENT, "{} writes ago", age);
            }
        }
    }

    #[test]
    fn the_last_epoch_has_15_digits() {
        assert_eq!(MAX_EPOCH.to_string(), "9".repeat(15));
        let mut document = Document::new("solo", 1).unwrap();
        assert_eq!(document.acquire("solo", MAX_EPOCH - 1).unwrap(), MAX_EPOCH);
        let error = document.acquire("solo", 0).unwrap_err();
        assert!(error.to_string().contains("more than 15 digits"), "{error}");
    }

    #[test]
    fn a_first_document_is_its_own() {
        let (one, other) = (Document::new("vps-1", 7).unwrap(), Document::new("vps-1", 7).unwrap());
        assert_eq!((one.v, one.lease.epoch, one.lease.holder.as_str(), one.lease.seq), (1, 7, "vps-1", 1));
        assert!(one.fleet.len() == 32 && one.fleet.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", one.fleet);
        assert!(one.fleet != other.fleet && one.lease.nonce != other.lease.nonce);
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        let mut document = Document::new("solo", 1).unwrap();
        document.lease.holder.clear();
        assert_eq!(document.text().unwrap_err().exit(), crate::exit::Exit::Bug);
    }
}
