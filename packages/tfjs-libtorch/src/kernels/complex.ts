import { COMPLEX64, FLOAT32, type Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';

/** Complex numbers, which are a dtype of libtorch's own, and Fourier transforms of the last axis. */
export function registerComplex(): void {
  const float = (scope: KernelScope, x: Handle) => scope.aten('aten::to.dtype', x, FLOAT32);
  const part = (operator: string) => (scope: KernelScope, x: Handle) => scope.aten('aten::contiguous', scope.aten(operator, scope.aten('aten::to.dtype', x, COMPLEX64)));
  const real = part('aten::real'), imaginary = part('aten::imag');
  defineKernel('Complex', (scope, { real, imag }) => scope.output(scope.aten('aten::complex', float(scope, scope.handle(real!)), float(scope, scope.handle(imag!))), 'complex64', real!.shape));
  defineKernel('Real', (scope, { input }) => scope.output(real(scope, scope.handle(input!)), 'float32', input!.shape));
  defineKernel('Imag', (scope, { input }) => scope.output(imaginary(scope, scope.handle(input!)), 'float32', input!.shape));
  defineKernel('ComplexAbs', (scope, { x }) => scope.output(scope.aten('aten::abs', scope.handle(x!)), 'float32', x!.shape));
  for (const [kernel, operator] of [['FFT', 'aten::fft_fft'], ['IFFT', 'aten::fft_ifft']] as const) {
    defineKernel(kernel, (scope, { input }) => scope.output(scope.aten(operator, scope.handle(input!), null, -1, null), 'complex64', input!.shape));
  }
}
