// A list that a page reads from the hub: loading, there, or why not.
import { words } from './api/client';

export class Loaded<T> {
  value = $state.raw<T | null>(null);
  trouble = $state('');
  #read: () => Promise<T>;

  constructor(read: () => Promise<T>) {
    this.#read = read;
    void this.again();
  }

  again = async () => {
    try {
      this.value = await this.#read();
      this.trouble = '';
    } catch (error) {
      this.trouble = words(error);
    }
  };
}
