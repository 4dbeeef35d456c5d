// An echo without a sandbox, a log or a database: the cost of Node's own server.
import { createServer } from 'node:http';
import { answer, listen } from './server.mjs';

listen(createServer(answer((body) => JSON.stringify(JSON.parse(body)))));
