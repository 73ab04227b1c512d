//! Where a tick learns what the CI of each repo has to do.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::policy::ci_load::Load;

/// An answer that is on its way: none = the CI did not say, or there is none.
pub type Loading<'a> = Pin<Box<dyn Future<Output = Option<Load>> + Send + 'a>>;

/// The source of the loads of CI.
pub trait CiLoads: Send + Sync {
    /// What the CI of this repo, by its name in the inventory, has to do now. Why there is no answer is the source's to
    /// tell: here it is the same as none. It ends in bounded time.
    fn load<'a>(&'a self, repo: &'a str) -> Loading<'a>;
}

/// The loads of these repos, asked for side by side; one that takes longer than `bound` said nothing.
pub async fn loads(source: &dyn CiLoads, repos: &[String], bound: Duration) -> BTreeMap<String, Option<Load>> {
    let mut loads: BTreeMap<String, Option<Load>> = repos.iter().map(|repo| (repo.clone(), None)).collect();
    let mut open: Vec<(&String, Loading<'_>)> = repos.iter().map(|repo| (repo, source.load(repo))).collect();
    let all = std::future::poll_fn(|context| {
        open.retain_mut(|(repo, loading)| match loading.as_mut().poll(context) {
            Poll::Ready(load) => {
                loads.insert((*repo).clone(), load);
                false
            }
            Poll::Pending => true,
        });
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    // Who has not answered by then has said nothing.
    let _ = tokio::time::timeout(bound, all).await;
    loads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::agents::Class;
    use crate::inventory::policy::Policy;
    use crate::policy::ci_load::{CiState, holds, step};

    /// Says at once what one repo has, and of another nothing for ever.
    struct Two;

    impl CiLoads for Two {
        fn load<'a>(&'a self, repo: &'a str) -> Loading<'a> {
            match repo {
                "slow" => Box::pin(std::future::pending()),
                _ => Box::pin(async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Some(Load { pending: 3, ..Load::default() })
                }),
            }
        }
    }

    /// Never knows anything.
    struct Silent;

    impl CiLoads for Silent {
        fn load<'a>(&'a self, _: &'a str) -> Loading<'a> {
            Box::pin(std::future::ready(None))
        }
    }

    #[tokio::test]
    async fn no_repo_waits_for_another_and_all_of_them_end() {
        let repos = ["harb", "slow", "web"].map(str::to_owned);
        let loads = loads(&Two, &repos, Duration::from_secs(1)).await;
        let pending = |repo: &str| loads[repo].map(|load| load.pending);
        assert_eq!([pending("harb"), pending("slow"), pending("web")], [Some(3), None, Some(3)]);
    }

    #[tokio::test]
    async fn without_a_ci_nothing_is_ever_held() {
        let mut state = CiState::default();
        for now in 0..100 {
            let loads = loads(&Silent, &["harb".to_owned()], Duration::from_secs(1)).await;
            let judged = step(&mut state, &Policy::default(), loads["harb"].as_ref(), 60.0 * f64::from(now));
            assert!(!holds(judged.level, Class::Dev));
        }
    }
}
