from ssmd.cli import main

if __name__ == "__main__":  # a worker process of anyio imports this file under another name
    main()
