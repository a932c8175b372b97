//! Work that takes the processor, spread over all cores. To be called where blocking is allowed, never in a loop that answers.

use std::num::NonZero;
use std::thread;

/// Fewer jobs than this are not worth a thread.
const JOBS_PER_THREAD_MIN: usize = 64;

/// Does all jobs, and gives what came of them in their order; the first error ends it.
pub(super) fn all<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let per_thread = jobs.len().div_ceil(cores).max(JOBS_PER_THREAD_MIN);
    if jobs.len() <= per_thread {
        return jobs.iter().map(&work).collect();
    }
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = jobs
            .chunks(per_thread)
            .map(|jobs| scope.spawn(move || jobs.iter().map(work).collect::<Result<Vec<T>, E>>()))
            .collect();
        let mut done = Vec::with_capacity(jobs.len());
        for thread in threads {
            match thread.join() {
                Ok(part) => done.extend(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_comes_in_the_order_of_the_jobs() {
        let jobs: Vec<u32> = (0..1000).collect();
        assert_eq!(all(&jobs, |job| Ok::<_, ()>(job + 1)), Ok((1..1001).collect()));
        assert_eq!(all(&jobs, |job| if *job == 700 { Err("700") } else { Ok(()) }), Err("700"));
        assert_eq!(all(&[1], |job| Ok::<u32, ()>(*job)), Ok(vec![1]));
    }
}
