/** Changes that somebody makes by pressing something. */
import { type MutationOptions, type UseMutationResult, useMutation } from '@tanstack/react-query';
import { useCallback, useRef } from 'react';

/** A mutation of which one runs at a time: pressed again meanwhile, also before the button is drawn as disabled, it is not made twice. */
export function useWrite<T, V = void>(options: MutationOptions<T, Error, V>): UseMutationResult<T, Error, V> {
  const runs = useRef(false);
  const write = useMutation({
    ...options,
    onSettled: async (...all) => {
      try {
        await options.onSettled?.(...all);
      } finally {
        runs.current = false;
      }
    },
  });
  const { mutate, reset } = write;
  const once = useCallback<typeof mutate>(
    (...given) => {
      if (runs.current) return;
      runs.current = true;
      mutate(...given);
    },
    [mutate],
  );
  // What is under way is not forgotten.
  const forget = useCallback(() => {
    if (!runs.current) reset();
  }, [reset]);
  return { ...write, mutate: once, reset: forget };
}
