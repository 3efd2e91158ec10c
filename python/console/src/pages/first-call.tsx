import { Link } from '@tanstack/react-router';
import { useMay } from '../state/hooks';
import { Code } from '../ui/basics';
import { useTraffic } from './traffic';

/** What to do where there was no request yet. */
export function FirstCall() {
  const traffic = useTraffic();
  const may = useMay('member');
  if (!may) return <p>Whoever has a key sends the first; it is shown here when it has ended.</p>;
  return (
    <>
      <p>
        Make a key under <Link to="/keys">Keys</Link>, then send a request to the address for traffic, which the start
        prints:
      </p>
      <Code label="A first request">{curl(traffic.address, traffic.model)}</Code>
    </>
  );
}

export function curl(address: string, model: string): string {
  const body = JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'Hello' }] });
  return `curl -N ${address}/v1/chat/completions \\\n  -H "Authorization: Bearer $FAIRLEAD_API_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d '${body.replaceAll("'", "'\\''")}'`;
}
