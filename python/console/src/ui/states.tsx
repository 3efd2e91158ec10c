/** What a page shows while there is nothing to show: loading, an error, nothing yet, not for this role. */
import type { UseInfiniteQueryResult, UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useRef } from 'react';
import { ApiError, Offline } from '../api/client';
import type { Role } from '../api/types';
import { clock } from '../format/time';
import { useZone } from '../state/hooks';
import { Button, ui } from './basics';

/** A grey place of the size of what will stand there, so that nothing jumps. */
export function Skeleton({ height }: { height: number }) {
  return <div className={ui.skeleton} style={{ height }} aria-hidden="true" />;
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={ui.state}>
      <strong>{title}</strong>
      {children}
    </div>
  );
}

/** `busy`: it is tried again. */
export function Failure({ error, retry, busy }: { error: unknown; retry?: () => void; busy?: boolean }) {
  const forbidden = isForbidden(error);
  return (
    <div className={ui.alert} role="alert">
      <strong>{forbidden ? 'Not for your role' : 'This could not be loaded'}</strong>
      <span>{said(error)}</span>
      {error instanceof ApiError && error.requestId && <span className={ui.muted}>request id {error.requestId}</span>}
      {retry && !forbidden && (
        <span>
          <Button onClick={retry} busy={busy ?? false}>
            Retry
          </Button>
        </span>
      )}
    </div>
  );
}

function isForbidden(error: unknown): boolean {
  return error instanceof ApiError && error.status === 403;
}

/** Instead of a page, or a part of one, that a higher role may see. */
export function Forbidden({ needs, children }: { needs: Role; children?: ReactNode }) {
  return (
    <div className={ui.alert} role="alert">
      <strong>Not for your role</strong>
      <span>
        This needs the role {needs}. {children}
      </span>
    </div>
  );
}

/** An error in words. */
export function said(error: unknown): string {
  if (error instanceof Offline) {
    const known = error.wrote ? ' Whether it made the change is not known: look before you try again.' : '';
    return `The gateway does not answer. It may be starting again.${known}`;
  }
  return error instanceof Error ? error.message : String(error);
}

type Asked = Pick<UseQueryResult, 'data' | 'error' | 'isPlaceholderData' | 'errorUpdateCount'>;

/** What is wrong with a question that has no answer, also while it is asked again: an alert does not come and go with every try. */
function useFailure(query: Asked): unknown {
  const last = useRef<unknown>(null);
  if (query.error) last.current = query.error;
  const unanswered = query.data === undefined || query.isPlaceholderData;
  return query.error ?? (unanswered && query.errorUpdateCount > 0 ? last.current : null);
}

/** What a page goes on without: choices, names, figures beside others. In a line, so that their absence is not taken for there being none. */
export function Without({ what, query }: { what: string; query: UseQueryResult }) {
  const error = useFailure(query);
  if (!error) return null;
  return (
    <p className={ui.warn} role="alert">
      {what} could not be loaded{isForbidden(error) ? '. Not for your role' : ''}: {said(error)}{' '}
      {!isForbidden(error) && (
        <Button onClick={() => void query.refetch()} busy={query.isFetching}>
          Retry
        </Button>
      )}
    </p>
  );
}

/** A list that is loaded by pages: what stands instead of its first, while that is loaded or when it could not be. */
export function FirstPage({ list, height }: { list: UseInfiniteQueryResult; height: number }) {
  const error = useFailure(list);
  if (error && !list.isFetchNextPageError)
    return <Failure error={error} retry={() => void list.refetch()} busy={list.isFetching} />;
  if (list.data || error) return null;
  return (
    <div aria-busy="true">
      <span className="sr-only">Loading</span>
      <Skeleton height={height} />
    </div>
  );
}

/** Its next page, and what became of asking for it. */
export function Older({ list, children = 'Older' }: { list: UseInfiniteQueryResult; children?: ReactNode }) {
  return (
    <>
      {list.hasNextPage && (
        <Button onClick={() => void list.fetchNextPage()} busy={list.isFetchingNextPage}>
          {children}
        </Button>
      )}
      {list.isFetchNextPageError && (
        <span className={ui.bad} role="alert">
          {said(list.error)}
        </span>
      )}
    </>
  );
}

/** A query's result: its data as soon as there is any, and what is wrong above data that is old. */
export function Loaded<T>(props: { query: UseQueryResult<T>; height?: number; children: (data: T) => ReactNode }) {
  const { data, refetch, dataUpdatedAt, isFetching } = props.query;
  const error = useFailure(props.query);
  const zone = useZone();
  const retry = () => {
    void refetch();
  };
  if (error && (data === undefined || props.query.isPlaceholderData))
    return <Failure error={error} retry={retry} busy={isFetching} />;
  if (data === undefined) {
    return (
      <div aria-busy="true">
        <span className="sr-only">Loading</span>
        <Skeleton height={props.height ?? 160} />
      </div>
    );
  }
  return (
    <>
      {!!error && (
        <div className={ui.alert} role="alert">
          <span>
            {said(error)} What is shown is of {clock(dataUpdatedAt, zone)}.{' '}
            <Button onClick={retry} busy={isFetching}>
              Retry
            </Button>
          </span>
        </div>
      )}
      {props.children(data)}
    </>
  );
}
