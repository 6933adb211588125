// The processes of a peer on Node: as many as serve it best, on one port.
import cluster from 'node:cluster';
import { once } from 'node:events';
import { createServer } from 'node:http';

// Prepares once and serves in so many processes; `handler` makes what answers requests in each of them.
export async function run({ name, port, workers, prepare, handler }) {
  const serve = async () => {
    const server = createServer({ keepAliveTimeout: 60_000 }, await handler());
    server.listen(Number(port), '127.0.0.1');
    await once(server, 'listening');
  };
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      for (const worker of Object.values(cluster.workers ?? {})) worker.process.kill('SIGTERM');
      process.exit(0);
    });
  }
  if (cluster.isWorker) return serve();
  await prepare();
  if (workers === 1) {
    await serve();
  } else {
    cluster.on('exit', () => process.exit(1));
    await Promise.all(Array.from({ length: workers }, () => once(cluster.fork(), 'listening')));
  }
  console.log(`${name} listening on http://127.0.0.1:${port}`);
}
