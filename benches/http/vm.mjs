// An echo in a new context per request: Node's built-in isolation, which its authors do not
// consider a security boundary.
import { createServer } from 'node:http';
import vm from 'node:vm';
import { answer, listen } from './server.mjs';

const script = new vm.Script('JSON.stringify(JSON.parse(body))');

listen(createServer(answer((body) => script.runInContext(vm.createContext({ body })))));
