import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createRoot } from 'react-dom/client';
import { ApiError } from './api.js';
import { App } from './app.js';
import 'uplot/dist/uPlot.min.css';
import './style.css';

// What isn't shown is let go soon, so that a page that is open for days stays as it was.
const client = new QueryClient({ defaultOptions: { queries: { gcTime: 30_000, staleTime: 1_000, retry: (count, error) => count < 1 && !(error instanceof ApiError && error.status >= 400 && error.status < 500), refetchOnWindowFocus: true } } });
createRoot(document.getElementById('root')!).render(<QueryClientProvider client={client}><App /></QueryClientProvider>);
