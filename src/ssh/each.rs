//! The same work for many hosts, some at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

/// Does `work` on every item, `forks` at a time, in the order of the items. It goes on until the last task has ended or
/// the set is dropped.
///
/// There are as many tasks as forks, not as items: the state of one host's work is some 10 KiB, and there may be
/// thousands of hosts.
pub fn each<T, F>(items: Vec<T>, forks: usize, work: impl Fn(T) -> F + Send + Sync + 'static) -> JoinSet<()>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let forks = forks.max(1).min(items.len());
    let (items, work) = (Arc::new(Mutex::new(items.into_iter())), Arc::new(work));
    let mut tasks = JoinSet::new();
    for _ in 0..forks {
        let (items, work) = (Arc::clone(&items), Arc::clone(&work));
        let next = move || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        tasks.spawn(async move {
            while let Some(item) = next() {
                work(item).await;
            }
        });
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_is_done_in_order_and_never_more_than_some_at_a_time() {
        for forks in [0, 1, 7, 100] {
            let seen = Arc::new(Mutex::new((0, 0, Vec::new())));
            let counted = Arc::clone(&seen);
            let tasks = each((0..20).collect(), forks, move |item| {
                let seen = Arc::clone(&counted);
                async move {
                    {
                        let mut seen = seen.lock().unwrap();
                        seen.0 += 1;
                        seen.1 = seen.1.max(seen.0);
                        seen.2.push(item);
                    }
                    tokio::task::yield_now().await;
                    seen.lock().unwrap().0 -= 1;
                }
            });
            tasks.join_all().await;
            let (_, most, items) = seen.lock().unwrap().clone();
            assert_eq!((most, items), (forks.clamp(1, 20), (0..20).collect::<Vec<_>>()));
        }
        each(Vec::<()>::new(), 5, |()| async {}).join_all().await;
    }
}
