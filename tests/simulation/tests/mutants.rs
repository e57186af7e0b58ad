//! Each mistake is found. A campaign that finds none of them would find nothing of ours either.

use flare_simulation::Campaign;
use flare_storage_model::mutants::{Mutant, make};

/// In so many lives with each number of owners.
const SEEDS: u64 = 2_000;

/// One after the other: a mistake is the whole process's.
#[test]
fn each_mutant_is_found_and_the_healthy_one_is_not() {
    for mutant in Mutant::ALL {
        make(Some(mutant));
        let failure = (1..=3).find_map(|owners| campaign(owners).run(|_| {}).failure);
        make(None);
        let Some(failure) = failure else {
            panic!("{mutant:?} was not found in {SEEDS} lives with one, two and three owners");
        };
        println!("{mutant:?}: {failure}");
        assert_eq!(
            failure.life.run().err(),
            None,
            "{mutant:?} was not what was found"
        );
    }
}

fn campaign(owners: usize) -> Campaign {
    Campaign {
        from: 0,
        seeds: SEEDS,
        owners,
        threads: 2,
    }
}
